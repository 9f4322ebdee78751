// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package httpclient

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

// serve serves until the end of the test.
func serve(t *testing.T, handler http.HandlerFunc) string {
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	return server.URL
}

// makeClient makes a client for a server.
func makeClient(t *testing.T, config *rest.Config) (*rest.Config, *http.Client) {
	t.Helper()
	config, client, err := New(config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.CloseIdleConnections)
	return config, client
}

// requests are of each way in which clients read.
var requests = map[string]func(context.Context, *rest.Config, *http.Client) error{
	"list": func(ctx context.Context, config *rest.Config, client *http.Client) error {
		c, err := kubernetes.NewForConfigAndClient(config, client)
		if err == nil {
			_, err = c.CoreV1().Pods("").List(ctx, metav1.ListOptions{})
		}
		return err
	},
	"watch": func(ctx context.Context, config *rest.Config, client *http.Client) error {
		c, err := kubernetes.NewForConfigAndClient(config, client)
		if err == nil {
			_, err = c.CoreV1().Pods("").Watch(ctx, metav1.ListOptions{})
		}
		return err
	},
	"stream": func(ctx context.Context, config *rest.Config, client *http.Client) error {
		c, err := kubernetes.NewForConfigAndClient(config, client)
		if err == nil {
			_, err = c.CoreV1().RESTClient().Get().Resource("pods").Stream(ctx)
		}
		return err
	},
	"raw": func(ctx context.Context, config *rest.Config, client *http.Client) error {
		c, err := kubernetes.NewForConfigAndClient(config, client)
		if err == nil {
			_, err = c.CoreV1().RESTClient().Get().Resource("pods").DoRaw(ctx)
		}
		return err
	},
	"get of a dynamic client": func(ctx context.Context, config *rest.Config, client *http.Client) error {
		c, err := dynamic.NewForConfigAndClient(config, client)
		if err == nil {
			_, err = c.Resource(corev1.SchemeGroupVersion.WithResource("pods")).Namespace("a").Get(ctx, "b", metav1.GetOptions{})
		}
		return err
	},
	"list of a client of its own": func(ctx context.Context, config *rest.Config, _ *http.Client) error {
		c, err := kubernetes.NewForConfig(config)
		if err == nil {
			_, err = c.CoreV1().Pods("").List(ctx, metav1.ListOptions{})
		}
		return err
	},
}

// counter counts the bytes that are read of bodies.
type counter struct {
	next http.RoundTripper
	mu   sync.Mutex
	read int
}

func (c *counter) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := c.next.RoundTrip(req)
	if err == nil {
		resp.Body = &counted{resp.Body, c}
	}
	return resp, err
}

type counted struct {
	io.ReadCloser
	counter *counter
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.ReadCloser.Read(p)
	c.counter.mu.Lock()
	defer c.counter.mu.Unlock()
	c.counter.read += n
	return n, err
}

// zipped is text, compressed.
func zipped(text string) []byte {
	var out bytes.Buffer
	zip := gzip.NewWriter(&out)
	_, _ = io.WriteString(zip, text)
	_ = zip.Close()
	return out.Bytes()
}

// endless writes the beginning of a Status, compressed, and then zeros without end.
func endless(w http.ResponseWriter, code int) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Encoding", "gzip")
	w.WriteHeader(code)
	_, err := w.Write(zipped(`{"kind":"Status","apiVersion":"v1","status":"Failure","code":418,"message":"`))
	for err == nil {
		_, err = w.Write(zeros)
	}
}

var zeros = zipped(strings.Repeat("0", 1<<20))

// A compressed body of a failure without an end is read up to the limit. The error is
// that of the status code.
func TestFailuresAreBounded(t *testing.T) {
	for code, is := range map[int]func(error) bool{
		http.StatusForbidden:           apierrors.IsForbidden,
		http.StatusUnauthorized:        apierrors.IsUnauthorized,
		http.StatusNotFound:            apierrors.IsNotFound,
		http.StatusGone:                apierrors.IsGone,
		http.StatusTooManyRequests:     apierrors.IsTooManyRequests,
		http.StatusInternalServerError: apierrors.IsInternalError,
		http.StatusServiceUnavailable:  apierrors.IsServiceUnavailable,
	} {
		host := serve(t, func(w http.ResponseWriter, _ *http.Request) { endless(w, code) })
		for name, request := range requests {
			var count *counter
			config := &rest.Config{Host: host}
			config.Wrap(func(next http.RoundTripper) http.RoundTripper {
				count = &counter{next: next}
				return count
			})
			config, client := makeClient(t, config)
			err := request(t.Context(), config, client)
			if !is(err) {
				t.Errorf("%s, %d: %v", name, code, err)
			}
			count.mu.Lock()
			if count.read != failureLimit {
				t.Errorf("%s, %d: read %d bytes", name, code, count.read)
			}
			count.mu.Unlock()
			client.CloseIdleConnections()
		}
	}
}

// A shorter failure is the error of its Status.
func TestFailureWithStatus(t *testing.T) {
	message := strings.Repeat("x", 100<<10)
	host := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusInternalServerError)
		_, _ = fmt.Fprintf(w, `{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"Expired","code":410,"message":%q}`, message)
	})
	for name, request := range requests {
		config, client := makeClient(t, &rest.Config{Host: host})
		err := request(t.Context(), config, client)
		if name == "raw" {
			if !apierrors.IsInternalError(err) {
				t.Errorf("%s: %v", name, err)
			}
		} else if !apierrors.IsResourceExpired(err) || err.Error() != message {
			t.Errorf("%s: %.100v", name, err)
		}
	}
}

// A redirect to another host is an error that names both, and nothing is sent there. One
// to the same host is followed.
func TestRedirects(t *testing.T) {
	var elsewhere []string
	var mu sync.Mutex
	other := serve(t, func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		elsewhere = append(elsewhere, r.Header.Get("Authorization"))
	})
	const token = "t0ken"
	for _, code := range []int{http.StatusMovedPermanently, http.StatusFound, http.StatusSeeOther, http.StatusTemporaryRedirect, http.StatusPermanentRedirect} {
		for name, request := range requests {
			host := serve(t, func(w http.ResponseWriter, r *http.Request) {
				http.Redirect(w, r, other+"/api?"+strings.Repeat("long", 1000), code)
			})
			config, client := makeClient(t, &rest.Config{Host: host, BearerToken: token})
			err := request(t.Context(), config, client)
			if err == nil || !strings.Contains(err.Error(), host+" redirects to "+other) || len(err.Error()) > 1000 {
				t.Errorf("%s, %d: %v", name, code, err)
			}

			same := ""
			same = serve(t, func(w http.ResponseWriter, r *http.Request) {
				if !strings.HasPrefix(r.URL.Path, "/moved") {
					http.Redirect(w, r, same+"/moved"+r.URL.Path, code)
					return
				}
				w.Header().Set("Content-Type", "application/json")
				w.WriteHeader(http.StatusForbidden)
				_, _ = fmt.Fprintf(w, `{"kind":"Status","apiVersion":"v1","status":"Failure","code":403,"reason":"Forbidden","message":%q}`, r.Header.Get("Authorization"))
			})
			config, client = makeClient(t, &rest.Config{Host: same, BearerToken: token})
			if err := request(t.Context(), config, client); !apierrors.IsForbidden(err) || name != "raw" && err.Error() != "Bearer "+token {
				t.Errorf("%s, %d, to the same host: %v", name, code, err)
			}
		}
	}
	mu.Lock()
	defer mu.Unlock()
	if len(elsewhere) > 0 {
		t.Errorf("the other server got %q", elsewhere)
	}
}

// Addresses of the same host, and of others.
func TestCheckRedirect(t *testing.T) {
	for _, test := range []struct {
		from, to, err string
	}{
		{"https://a/x", "/y", ""},
		{"https://a/x", "y", ""},
		{"https://a/x", "", ""},
		{"https://a/x", "https://A:443/y", ""},
		{"https://a:443/x", "//a/y", ""},
		{"http://a/x", "http://a:80/y", ""},
		{"https://[::1]:443/x", "https://[::1]/y", ""},
		{"https://a:6443/x", "https://a/y", "https://a:6443 redirects to https://a:"},
		{"https://a/x", "http://a/y", "https://a redirects to http://a:"},
		{"http://a/x", "https://a/y", "http://a redirects to https://a:"},
		{"https://a/x", "https://a.b/y", "https://a redirects to https://a.b:"},
		{"https://a/x", "https://user:s3cret@b/y", "https://a redirects to https://b:"},
		{"https://a/x", "https://a@b/y", "https://a redirects to https://b:"},
		{"https://a/x", "ftp://a/y", "https://a redirects to ftp://a:"},
		{"https://a/x", "https://s3cret:x:y/", "https://a redirects to an address that is not a valid URL"},
		{"https://a/x", "\x00", "https://a redirects to an address that is not a valid URL"},
	} {
		from, err := url.Parse(test.from)
		if err != nil {
			t.Fatal(err)
		}
		resp := &http.Response{StatusCode: http.StatusFound, Header: http.Header{"Location": {test.to}}}
		err = checkRedirect(from, resp)
		if got := fmt.Sprint(err); (err == nil) != (test.err == "") || err != nil && !strings.Contains(got, test.err) || strings.Contains(got, "s3cret") {
			t.Errorf("%s to %s: %v, want %q", test.from, test.to, err, test.err)
		}
		resp.StatusCode = http.StatusNotModified // which clients do not follow
		if err := checkRedirect(from, resp); err != nil {
			t.Errorf("%s to %s: %v", test.from, test.to, err)
		}
	}
}

// User and password of the address are sent as before, and are in no URL.
func TestUserinfo(t *testing.T) {
	const password = "p/w@ s3cret"
	user := url.UserPassword("me", password).String()
	host := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusForbidden)
		name, given, _ := r.BasicAuth()
		_, _ = fmt.Fprint(w, name, " ", given == password)
	})
	bare := strings.TrimPrefix(host, "http://")
	for _, address := range []string{"http://" + user + "@" + bare, user + "@" + bare} {
		given := &rest.Config{Host: address, BearerToken: "t0ken"}
		config, client := makeClient(t, given)
		for name, request := range requests {
			if err := request(t.Context(), config, client); !apierrors.IsForbidden(err) || !strings.HasPrefix(err.Error(), "me true") {
				t.Errorf("%s: %v", name, err)
			}
		}
		if config.Host != host && config.Host != bare || given.Host != address || given.Username != "" {
			t.Errorf("the address is %s, and was %s", config.Host, given.Host)
		}
	}
	for _, address := range []string{"https://me:s3cret@host:bad", "https://me:s3cret/x@host", "https://me:1/s3cret@host", "https://me:s3 cret@host", "me:%s3cret@host"} {
		config := &rest.Config{Host: address}
		_, _, err1 := New(config)
		_, err2 := Guard(config, &http.Client{})
		for _, err := range []error{err1, err2} {
			if err == nil || strings.Contains(err.Error(), "cret") || strings.Contains(err.Error(), "s3") {
				t.Errorf("%s: %v", address, err)
			}
		}
	}
}

// A client of the caller gets a guard without being changed.
func TestGuard(t *testing.T) {
	for _, given := range []*http.Client{{}, {Transport: &http.Transport{}}} {
		was := given.Transport
		guarded, err := Guard(&rest.Config{Host: "http://user@host"}, given)
		if err != nil {
			t.Fatal(err)
		}
		if given.Transport != was {
			t.Error("the client was changed")
		}
		host := serve(t, func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://other.invalid/", http.StatusFound)
		})
		resp, err := guarded.Get(host)
		if err == nil {
			_ = resp.Body.Close()
		}
		if err == nil || !strings.Contains(err.Error(), "redirects to http://other.invalid") {
			t.Error(err)
		}
		guarded.CloseIdleConnections()
	}
}
