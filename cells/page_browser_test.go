// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package cells

import (
	"bytes"
	"context"
	"errors"
	"image/png"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
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

// A browser shows the page in the width of a desk and of a phone. With APIARY_SCREENSHOTS=DIR
// it writes pictures there; all-wide.png is docs/status-page.png.
func TestStatusPageInBrowser(t *testing.T) {
	browser := ""
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			browser = path
			break
		}
	}
	if browser == "" {
		t.Skip("there is no chromium: install Debian's package chromium to test the status page in a browser")
	}
	if testing.Short() {
		t.Skip("a browser takes seconds")
	}
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
