// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

// Package httpclient makes HTTP clients that do not trust the server.
//
//   - A redirect to another host is an error: the transports of client-go add the bearer
//     token and the client certificate to each request, whichever its host is.
//   - Of the body of an answer that is no success the first 256 KiB are read.
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

// New returns a client for the API server of config, and a copy of config for further
// clients, which have the same guard. Both have user and password of the address as basic
// authentication, so that no URL shows them.
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

// Guard returns a copy of a client for the API server of config that has the guard.
func Guard(config *rest.Config, client *http.Client) (*http.Client, error) {
	if _, err := withUserinfo(config.Host); err != nil {
		return nil, err
	}
	guard := *client
	guard.Transport = guarded(client.Transport)
	return &guard, nil
}

// withUserinfo returns the URL of an address that has user and password, nil if it has none.
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
		return nil, errors.New("the address of the API server is no URL: give one such as https://host:6443, with a password that is escaped")
	}
	return u, nil
}

// moveUserinfo moves user and password from the address to where they belong. They replace
// a token, as net/http has it.
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

// failureLimit bounds the body of an answer that is no success. The Status of an API server
// takes a few KB, and 1 KB of it is shown; this has room for hundreds of causes.
const failureLimit = 256 << 10

func guarded(next http.RoundTripper) http.RoundTripper {
	if next == nil {
		next = http.DefaultTransport
	}
	return &guard{next}
}

type guard struct{ next http.RoundTripper }

// WrappedRoundTripper lets apimachinery find the transport inside, to close its idle
// connections.
func (g *guard) WrappedRoundTripper() http.RoundTripper { return g.next }

// CloseIdleConnections is for http.Client.
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
	// What is cut off is no Status: client-go then goes by the code.
	resp.Body = &limitedBody{io.LimitReader(resp.Body, failureLimit), resp.Body}
	return resp, nil
}

type limitedBody struct {
	io.Reader
	io.Closer
}

// checkRedirect fails if resp redirects a request to another host than that of from.
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
		return fmt.Errorf("%s redirects to an address that is no URL", origin(from))
	}
	if origin(from) == origin(to) {
		return nil
	}
	return fmt.Errorf("%s redirects to %s: a redirect to another host is not followed, as the credentials are not for that one: "+
		"give its address in place of the first, if it is the API server", origin(from), redact.Text(origin(to)))
}

// origin is the scheme, the host and the port of u.
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
