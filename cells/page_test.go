// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package cells

import (
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
)

// The page shows, as HTML, text and JSON, what is not in sync, since when and why. Golden
// files have the whole pages.
func TestStatusPage(t *testing.T) {
	noCluster(t)
	for name, tr := range troubles() {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				tr.follow(t, func(all *Resources) {
					page := examplePage(all)
					one := "Pod.v1"
					switch name {
					case "not-installed":
						one = "Gadget.v1.example.com"
					case "webhook":
						one = "Widget.v1.example.com"
					case "status-scope":
						one = "ConfigMap shop/settings"
					case "clusters":
						one = "west/Pod.v1"
					}
					for _, format := range []string{"html", "text", "json"} {
						got := load(t, page, "/?format="+format) + "\n" + load(t, page, "/?format="+format+"&name="+url.QueryEscape(one))
						expectGolden(t, name+"."+format, got)
					}
				})
			})
		})
	}
}

// The format follows the client.
func TestStatusPageFormat(t *testing.T) {
	page := StatusPage(&Resources{})
	for _, tt := range []struct{ query, accept, want string }{
		{"", "", "text/plain; charset=utf-8"},
		{"", "*/*", "text/plain; charset=utf-8"}, // curl
		{"", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", "text/html; charset=utf-8"},
		{"", "application/json", "application/json"},
		{"", "text/plain;q=0.9, text/html", "text/plain; charset=utf-8"},
		{"?format=json", "text/html", "application/json"},
		{"?format=html", "*/*", "text/html; charset=utf-8"},
		{"?format=text", "text/html", "text/plain; charset=utf-8"},
	} {
		w := httptest.NewRecorder()
		page.ServeHTTP(w, request("/"+tt.query, "Accept", tt.accept))
		if got := w.Header().Get("Content-Type"); got != tt.want || w.Code != http.StatusOK {
			t.Errorf("%s, Accept %s: got %d %s", tt.query, tt.accept, w.Code, got)
		}
	}
}

// Requests that change something, other hosts on loopback, unknown names and formats are
// refused. All answers have the headers that protect a browser.
func TestStatusPageRefuses(t *testing.T) {
	for _, tt := range []struct {
		method, host, local, path string
		want                      int
	}{
		{"GET", "localhost:9090", "127.0.0.1", "/", 200},
		{"HEAD", "[::1]:9090", "::1", "/", 200},
		{"GET", "127.0.0.2", "127.0.0.2", "/", 200},
		{"GET", "LOCALHOST.", "127.0.0.1", "/", 200},
		{"POST", "localhost", "127.0.0.1", "/", 405},
		{"DELETE", "localhost", "127.0.0.1", "/", 405},
		{"GET", "evil.example:9090", "127.0.0.1", "/", 403},
		{"GET", "127.0.0.1.evil.example", "127.0.0.1", "/", 403},
		{"GET", "", "127.0.0.1", "/", 403},
		{"GET", "node-1:9090", "192.0.2.1", "/", 200},
		{"GET", "localhost", "127.0.0.1", "/?name=Pods", 404},
		{"GET", "localhost", "127.0.0.1", "/?format=xml", 400},
	} {
		r := request(tt.path)
		r.Method, r.Host = tt.method, tt.host
		*r.Context().Value(http.LocalAddrContextKey).(net.Addr).(*net.TCPAddr) = net.TCPAddr{IP: net.ParseIP(tt.local)}
		w := httptest.NewRecorder()
		StatusPage(&Resources{}).ServeHTTP(w, r)
		if w.Code != tt.want {
			t.Errorf("%s %s of host %q: got %d, want %d", tt.method, tt.path, tt.host, w.Code, tt.want)
		}
		for _, header := range []string{"Content-Security-Policy", "X-Content-Type-Options", "X-Frame-Options", "Cache-Control", "Referrer-Policy"} {
			if w.Header().Get(header) == "" {
				t.Errorf("%s %s has no %s", tt.method, tt.path, header)
			}
		}
	}
}

// Names and errors are escaped, and long errors are cut.
func TestStatusPageEscapes(t *testing.T) {
	all := &Resources{}
	f := Params{Client: &ClientState{}}.newFollowed(FollowedResource, `<b>&"'`, scope{}, gather(nil))
	f.report.say(LevelDegraded, "cannot list", &hostileError{})
	all.add(f)
	for _, path := range []string{"/?format=html", "/?format=html&name=" + url.QueryEscape(f.name)} {
		page := strings.Replace(load(t, StatusPage(all), path), "<script>"+pageScript+"</script>", "", 1)
		if strings.Contains(page, "<b>") || strings.Contains(page, "<script>") || !strings.Contains(page, "&lt;script&gt;") || len(page) > 12_000 {
			t.Errorf("%s: %d bytes: %s", path, len(page), page)
		}
	}
	for _, path := range []string{"/?format=text", "/?format=json"} {
		if page := load(t, StatusPage(all), path); len(page) > 3000 || strings.Contains(page, "\x1b") {
			t.Errorf("%s: %d bytes: %q", path, len(page), page)
		}
	}
}

type hostileError struct{}

func (*hostileError) Error() string {
	return "<script>alert(1)</script> \x1b[2J " + strings.Repeat("x ", 100_000)
}

func TestStatusPageOfNothing(t *testing.T) {
	if got := load(t, StatusPage(&Resources{}), "/?format=text"); got != "Nothing is followed\n" {
		t.Errorf("got %q", got)
	}
}
