// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package cells

import (
	"bytes"
	"context"
	"errors"
	"image/png"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/apiary-go/apiary/fakeapi"
)

// recorded returns the pages that the handler makes of a hive in trouble. The hive runs in a
// bubble of synctest, which a browser cannot enter.
func recorded(t *testing.T, tr *trouble, paths ...string) http.Handler {
	t.Helper()
	answers := map[string]*httptest.ResponseRecorder{}
	synctest.Test(t, func(t *testing.T) {
		tr.follow(t, func(all *Resources) {
			for _, path := range paths {
				w := httptest.NewRecorder()
				examplePage(all).ServeHTTP(w, request(path, "Accept", "text/html"))
				answers[path] = w
			}
		})
	})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		answer := answers[r.URL.RequestURI()]
		if answer == nil {
			http.NotFound(w, r)
			return
		}
		for name, values := range answer.Header() {
			w.Header()[name] = values
		}
		w.WriteHeader(answer.Code)
		_, _ = w.Write(answer.Body.Bytes())
	})
}

// browse runs Chromium without a window and returns what it prints.
func browse(t *testing.T, browser, url string, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	profile := filepath.Join(t.TempDir(), "profile")
	args = append([]string{"--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
		"--disable-background-networking", "--disable-dev-shm-usage", "--hide-scrollbars", "--user-data-dir=" + profile}, args...)
	cmd := exec.CommandContext(ctx, browser, append(args, url)...)
	cmd.Env = append(os.Environ(), "HOME="+profile)
	var out, notes bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &notes
	cmd.WaitDelay = 10 * time.Second
	if err := cmd.Run(); err != nil && !errors.Is(err, exec.ErrWaitDelay) {
		t.Fatalf("%s: %v\n%s", browser, err, notes.String())
	}
	if strings.Contains(notes.String(), "Content Security Policy") {
		t.Errorf("the policy of the page refuses a part of it: %s", notes.String())
	}
	return out.String()
}

// browserFor returns the path of Chromium, or skips the test.
func browserFor(t *testing.T) string {
	t.Helper()
	if testing.Short() {
		t.Skip("a browser takes seconds")
	}
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	t.Skip("there is no chromium: install Debian's package chromium to test the status page in a browser")
	return ""
}

// An open page is refreshed by itself, and stays while the program does not answer: after a
// restart it shows the new state.
func TestStatusPageInBrowserSurvivesRestart(t *testing.T) {
	browser := browserFor(t)
	const lost, first, second = "trying again", "before the restart", "after the restart"
	show := func(program string) http.HandlerFunc {
		page := newStatusPage(&Resources{})
		page.program = program
		return page.ServeHTTP
	}
	down := func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }
	for name, tt := range map[string]struct {
		then     []http.HandlerFunc // after the first page; the last is repeated
		has, not []string
	}{
		"refreshed": {[]http.HandlerFunc{show(second)}, []string{second}, []string{first, lost}},
		"down":      {[]http.HandlerFunc{down}, []string{first, "no answer since 20", " UTC, trying again"}, []string{second}},
		"restarted": {[]http.HandlerFunc{down, down, show(second)}, []string{second}, []string{first, lost}},
		"not there": {[]http.HandlerFunc{http.NotFound}, []string{first, "answer 404 since 20"}, []string{second}},
	} {
		t.Run(name, func(t *testing.T) {
			var mu sync.Mutex
			next := append([]http.HandlerFunc{show(first)}, tt.then...)
			server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path != "/" { // an icon
					http.NotFound(w, r)
					return
				}
				mu.Lock()
				handle := next[0]
				if len(next) > 1 {
					next = next[1:]
				}
				mu.Unlock()
				handle(w, r)
			}))
			server.Config.ErrorLog = log.New(io.Discard, "", 0)
			server.Config.SetKeepAlivesEnabled(false) // a browser repeats requests on a kept connection
			server.Start()
			defer server.Close()
			_, dom, _ := strings.Cut(browse(t, browser, server.URL, "--virtual-time-budget=23000", "--dump-dom"), "<body")
			for _, text := range tt.has {
				if !strings.Contains(dom, text) {
					t.Errorf("the browser does not show %q", text)
				}
			}
			for _, text := range tt.not {
				if strings.Contains(dom, text) {
					t.Errorf("the browser shows %q", text)
				}
			}
			if t.Failed() {
				t.Log(dom)
			}
		})
	}
}

// A browser shows the page in the width of a desk and of a phone. With APIARY_SCREENSHOTS=DIR
// it writes pictures there; all-wide.png is docs/status-page.png.
func TestStatusPageInBrowser(t *testing.T) {
	browser := browserFor(t)
	const all, one = "/", "/?name=Pod.v1"
	tr := troubles()["consumer-fails"]
	tr.api.Intercept(func(_ context.Context, r fakeapi.Request) error {
		if r.Resource.Resource == "widgets" {
			return forbidden(r)
		}
		return nil
	})
	server := httptest.NewServer(recorded(t, tr, all, one))
	defer server.Close()

	for path, want := range map[string][]string{
		all: {"NOT IN SYNC: 2 of 4", "cannot list: forbidden", "subscriber programmer fails on shop/web", "since 2000-01-01 00:00:05 UTC (2m44s ago)", "map full", "The others", "Deployment.v1.apps"},
		one: {"Pod.v1", "Subscriber programmer", "shop/web, retries 16", "Recent events"},
	} {
		dom := browse(t, browser, server.URL+path, "--dump-dom")
		for _, text := range want {
			if !strings.Contains(dom, text) {
				t.Errorf("%s: the browser does not show %q", path, text)
			}
		}
		if t.Failed() {
			t.Log(dom)
		}
	}

	dir := os.Getenv("APIARY_SCREENSHOTS")
	if dir == "" {
		dir = t.TempDir()
	}
	for name, picture := range map[string]struct{ path, size string }{
		"all-wide": {all, "1200,640"}, "one-wide": {one, "1200,1500"}, "all-phone": {all, "500,900"}, "one-phone": {one, "500,1800"},
	} {
		file := filepath.Join(dir, name+".png")
		browse(t, browser, server.URL+picture.path, "--window-size="+picture.size, "--screenshot="+file)
		f, err := os.Open(file)
		if err != nil {
			t.Fatal(err)
		}
		_, err = png.Decode(f)
		_ = f.Close()
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}
