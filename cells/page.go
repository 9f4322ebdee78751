// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package cells

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"html/template"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// StatusPage returns a handler that shows everything that the hive follows: first what is
// not in sync, since when and why, then the rest. With ?name=NAME it shows one resource,
// mirror, push or scope with its lists, subscribers, failing keys and recent events. It
// shows keys and errors, and no content of objects.
//
//	mux.Handle("/resources", cells.StatusPage(resources))
//
// A browser gets HTML that refreshes itself, also after a restart of the program. Other
// clients, such as curl, get text. With "Accept: application/json" or ?format=json it is
// JSON; ?format=text and ?format=html set the others. The format of the text can change.
//
// The handler checks no identity. On a loopback address it rejects requests whose Host is
// not loopback, such as those of a web page that resolves its own name to 127.0.0.1. It can
// be called from any goroutine, and makes no request to the API server.
func StatusPage(all *Resources) http.Handler { return newStatusPage(all) }

// refreshSeconds is how often a browser reads the page.
const refreshSeconds = 5

var (
	//go:embed page.css
	pageStyle string
	//go:embed page.js
	pageScript string
	//go:embed page.html
	pageSource string
)

// statusPage is the handler of StatusPage.
type statusPage struct {
	resources *Resources
	program   string // and the host that it runs on
	anyHost   bool   // the host of a request is not checked
	host      string // a further host that is allowed
}

func newStatusPage(all *Resources) *statusPage {
	program := filepath.Base(os.Args[0])
	if host, err := os.Hostname(); err == nil {
		program += " on " + host
	}
	return &statusPage{resources: all, program: program}
}

// ServeHTTP implements http.Handler.
func (p *statusPage) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Security-Policy", pagePolicy)
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		h.Set("Allow", "GET, HEAD")
		http.Error(w, "The status page is only read: use GET.", http.StatusMethodNotAllowed)
		return
	}
	if !p.allows(r) {
		http.Error(w, "The Host of the request is not a loopback address: use http://localhost.", http.StatusForbidden)
		return
	}
	write, known := map[string]func(*bytes.Buffer, *http.Request, []Followed) error{
		"html": p.writeHTML, "text": writeText, "json": writeJSON,
	}[format(r)]
	if !known {
		http.Error(w, "format must be html, text or json.", http.StatusBadRequest)
		return
	}
	var shown []Followed
	switch name := r.URL.Query().Get("name"); {
	case name != "":
		f, err := p.resources.Get(name)
		if err != nil {
			http.Error(w, err.Error(), http.StatusNotFound)
			return
		}
		shown = []Followed{f}
	default:
		shown = p.resources.All()
	}
	var body bytes.Buffer // an error must not leave half a page
	if err := write(&body, r, shown); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	h.Set("Content-Type", map[string]string{
		"html": "text/html; charset=utf-8", "text": "text/plain; charset=utf-8", "json": "application/json",
	}[format(r)])
	_, _ = w.Write(body.Bytes()) // fails if the client has gone
}

// format returns what the client wants: "html", "text" or "json", or another value of the
// parameter.
func format(r *http.Request) string {
	if f := r.URL.Query().Get("format"); f != "" {
		return f
	}
	for accepted := range strings.SplitSeq(strings.Join(r.Header.Values("Accept"), ","), ",") {
		kind, _, _ := strings.Cut(accepted, ";")
		switch strings.ToLower(strings.TrimSpace(kind)) {
		case "text/html", "application/xhtml+xml":
			return "html"
		case "application/json":
			return "json"
		case "text/plain":
			return "text"
		}
	}
	return "text"
}

// allows returns false if a web page can have made a browser send r: it came to a loopback
// address under a name that is none.
func (p *statusPage) allows(r *http.Request) bool {
	local, ok := r.Context().Value(http.LocalAddrContextKey).(*net.TCPAddr)
	if p.anyHost || !ok || !local.IP.IsLoopback() {
		return true
	}
	host := (&url.URL{Host: r.Host}).Hostname()
	return isLoopback(host) || p.host != "" && strings.EqualFold(host, p.host)
}

// isLoopback returns true for localhost and the addresses of loopback.
func isLoopback(host string) bool {
	host = strings.TrimSuffix(strings.ToLower(host), ".")
	if host == "localhost" || strings.HasSuffix(host, ".localhost") {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.Unmap().IsLoopback()
}

func isOne(r *http.Request) bool { return r.URL.Query().Get("name") != "" }

func writeText(w *bytes.Buffer, r *http.Request, shown []Followed) error {
	if isOne(r) {
		return writeOne(w, shown[0], time.Now())
	}
	return writeAll(w, shown, time.Now())
}

func writeJSON(w *bytes.Buffer, r *http.Request, shown []Followed) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false) // it is not sent as HTML
	if isOne(r) {
		return e.Encode(shown[0])
	}
	now := time.Now()
	not, _ := split(shown, now)
	names := []string{}
	for _, f := range not {
		names = append(names, f.Name)
	}
	return e.Encode(struct {
		Time      time.Time  `json:"time"`
		NotInSync []string   `json:"notInSync"`
		Resources []Followed `json:"resources"`
	}{now, names, append([]Followed{}, shown...)})
}

var (
	pageTemplate = template.Must(template.New("page").Parse(pageSource))
	pagePolicy   = "default-src 'none'; style-src " + hashSource(pageStyle) + "; script-src " + hashSource(pageScript) +
		"; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)

// hashSource allows a text in a Content-Security-Policy.
func hashSource(text string) string {
	hash := sha256.Sum256([]byte(text))
	return "'sha256-" + base64.StdEncoding.EncodeToString(hash[:]) + "'"
}

// pageData is what page.html shows.
type pageData struct {
	Title, Program, Time            string
	Style                           template.CSS
	Script                          template.JS
	Refresh                         int // seconds, 0: it is paused
	Back, Pause, Resume, Text, JSON string
	Headline                        string // of all
	Not, Rest                       []card
	Followed                        Followed // the one
	Sections                        []section
}

// card shows one in the list of all.
type card struct {
	Level                                          Level
	Link, Name, What, Status, Since, Error, Advice string
	Facts                                          string
}

func (p *statusPage) writeHTML(w *bytes.Buffer, r *http.Request, shown []Followed) error {
	now := time.Now()
	name := r.URL.Query().Get("name")
	d := pageData{
		Program: p.program, Time: clock(now), Style: template.CSS(pageStyle), Script: template.JS(pageScript), Refresh: refreshSeconds,
		Back: link(""), Pause: link(name, "refresh", "off"), Resume: link(name),
		Text: link(name, "format", "text"), JSON: link(name, "format", "json"),
	}
	if r.URL.Query().Get("refresh") == "off" {
		d.Refresh = 0
	}
	if name != "" {
		d.Followed, d.Sections = shown[0], sections(shown[0], now)
		d.Title = fmt.Sprintf("%s %s", d.Followed.Level, name)
		return pageTemplate.ExecuteTemplate(w, "one", d)
	}
	not, rest := split(shown, now)
	d.Headline, d.Not, d.Rest = headline(shown, now), cards(not, now), cards(rest, now)
	d.Title = d.Headline
	return pageTemplate.ExecuteTemplate(w, "all", d)
}

// link returns the relative address of the page of a name, with a parameter.
func link(name string, parameter ...string) string {
	v := url.Values{}
	if name != "" {
		v.Set("name", name)
	}
	if len(parameter) == 2 {
		v.Set(parameter[0], parameter[1])
	}
	return "?" + v.Encode()
}

func cards(list []Followed, now time.Time) (all []card) {
	for _, f := range list {
		c := card{Level: f.Level, Link: link(f.Name), Name: f.Name, What: string(f.Kind), Status: statusText(f), Since: when(f.Since, now), Error: errorText(f.Err), Advice: advice(f)}
		if selects := f.selects(); selects != "" {
			c.What += " of " + selects
		}
		facts := []string{objects(f.Objects), "last contact " + age(f.Reflector.Contact, now)}
		if !isInSync(f, now) {
			facts = append(facts, cmp.Or(string(f.Reflector.State), "not running"))
			if f.Synced && f.Reflector.Err != nil {
				facts = append(facts, "the objects of the last complete state are in use")
			}
		}
		c.Facts = strings.Join(facts, " · ")
		all = append(all, c)
	}
	return all
}
