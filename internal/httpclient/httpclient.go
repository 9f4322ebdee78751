// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

// Package httpclient creates HTTP clients that do not trust the server.
//
//   - A redirect to another host is an error, because the transports of client-go add the
//     bearer token and the client certificate to every request, whatever its host.
//   - At most 256 KiB are read of the body of an unsuccessful response.
package httpclient

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"k8s.io/client-go/rest"

	"github.com/apiary-go/apiary/internal/redact"
)

// New returns a guarded client for the API server of config, and a copy of config that
// creates guarded clients. Both use the user and password of the address for basic
// authentication, so that they are in no URL.
func New(config *rest.Config) (*rest.Config, *http.Client, error) {
	config = rest.CopyConfig(config)
	if err := moveUserinfo(config); err != nil {
		return nil, nil, err
	}
	config.Wrap(guarded)
	client, err := rest.HTTPClientFor(config)
	if err != nil {
		return nil, nil, err
	}
	return config, client, nil
}

// Guard returns a guarded copy of client, a client for the API server of config.
func Guard(config *rest.Config, client *http.Client) (*http.Client, error) {
	if _, err := withUserinfo(config.Host); err != nil {
		return nil, err
	}
	guard := *client
	guard.Transport = guarded(client.Transport)
	return &guard, nil
}

// withUserinfo returns the URL of an address with user and password, or nil if it has none.
func withUserinfo(address string) (*url.URL, error) {
	if !strings.Contains(address, "@") {
		return nil, nil
	}
	if !strings.Contains(address, "://") {
		address = "//" + address
	}
	u, err := url.Parse(address)
	if err != nil || u.User == nil {
		// The error of url.Parse quotes parts of the address.
		return nil, errors.New("the address of the API server is not a valid URL: set one such as https://host:6443, and escape its password")
	}
	return u, nil
}

// moveUserinfo moves user and password from the address to the fields of config. As in
// net/http, they replace a token.
func moveUserinfo(config *rest.Config) error {
	u, err := withUserinfo(config.Host)
	if err != nil || u == nil {
		return err
	}
	config.Username = u.User.Username()
	config.Password, _ = u.User.Password()
	config.BearerToken, config.BearerTokenFile = "", ""
	u.User = nil
	config.Host = strings.TrimPrefix(u.String(), "//")
	return nil
}

// failureLimit bounds the body of an unsuccessful response. The Status of an API server
// has a few KB, of which 1 KB is shown. The limit allows hundreds of causes.
const failureLimit = 256 << 10

func guarded(next http.RoundTripper) http.RoundTripper {
	if next == nil {
		next = http.DefaultTransport
	}
	return &guard{next}
}

type guard struct{ next http.RoundTripper }

// WrappedRoundTripper returns the wrapped transport. apimachinery closes its idle
// connections.
func (g *guard) WrappedRoundTripper() http.RoundTripper { return g.next }

// CloseIdleConnections is called by http.Client.
func (g *guard) CloseIdleConnections() {
	if closer, ok := g.next.(interface{ CloseIdleConnections() }); ok {
		closer.CloseIdleConnections()
	}
}

// RoundTrip implements http.RoundTripper.
func (g *guard) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := g.next.RoundTrip(req)
	if err != nil || resp.StatusCode < http.StatusMultipleChoices {
		return resp, err
	}
	if err := checkRedirect(req.URL, resp); err != nil {
		_ = resp.Body.Close()
		return nil, err
	}
	// A cut body is not a valid Status. client-go then uses the status code.
	resp.Body = &limitedBody{io.LimitReader(resp.Body, failureLimit), resp.Body}
	return resp, nil
}

type limitedBody struct {
	io.Reader
	io.Closer
}

// checkRedirect returns an error if resp redirects a request from the host of from to
// another one.
func checkRedirect(from *url.URL, resp *http.Response) error {
	switch resp.StatusCode {
	case http.StatusMovedPermanently, http.StatusFound, http.StatusSeeOther, http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
	default:
		return nil
	}
	location := resp.Header.Get("Location")
	if location == "" {
		return nil
	}
	to, err := from.Parse(location)
	if err != nil {
		return fmt.Errorf("%s redirects to an address that is not a valid URL", origin(from))
	}
	if origin(from) == origin(to) {
		return nil
	}
	return fmt.Errorf("%s redirects to %s: redirects to another host are not followed, because the credentials are not for that host; "+
		"if it is the API server, configure its address", origin(from), redact.Text(origin(to)))
}

// origin returns the scheme, the host and the port of u.
func origin(u *url.URL) string {
	host, port := strings.ToLower(u.Host), ""
	switch u.Scheme {
	case "https":
		port = ":443"
	case "http":
		port = ":80"
	}
	return u.Scheme + "://" + strings.TrimSuffix(host, port)
}
