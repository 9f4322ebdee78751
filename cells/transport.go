// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package cells

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"k8s.io/client-go/transport"
)

// isWatch reports whether the response to req has no end.
func isWatch(req *http.Request) bool {
	query := req.URL.Query()
	for _, name := range []string{"watch", "follow"} {
		if v := query.Get(name); v == "true" || v == "1" {
			return true
		}
	}
	return false
}

// requestTimeout sets a timeout of requests, up to the end of the response, except watches.
func requestTimeout(limit time.Duration, flag string) transport.WrapperFunc {
	return func(next http.RoundTripper) http.RoundTripper {
		if limit <= 0 {
			return next
		}
		return &timeoutTransport{next: next, limit: limit, flag: flag}
	}
}

type timeoutTransport struct {
	next  http.RoundTripper
	limit time.Duration
	flag  string // that sets limit
}

// WrappedRoundTripper lets apimachinery find the transport inside, to close its
// idle connections.
func (t *timeoutTransport) WrappedRoundTripper() http.RoundTripper { return t.next }

// RoundTrip implements http.RoundTripper.
func (t *timeoutTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	if isWatch(req) || req.Header.Get("Upgrade") != "" {
		return t.next.RoundTrip(req)
	}
	cause := fmt.Errorf("no complete answer within %s (--%s): %w", t.limit, t.flag, context.DeadlineExceeded)
	ctx, cancel := context.WithTimeoutCause(req.Context(), t.limit, cause)
	resp, err := t.next.RoundTrip(req.WithContext(ctx))
	if err != nil {
		err = because(ctx, cause, err)
		cancel()
		return nil, err
	}
	resp.Body = &timedBody{ReadCloser: resp.Body, ctx: ctx, cause: cause, cancel: cancel}
	return resp, nil
}

// because returns cause if that is what ended ctx, and err otherwise.
func because(ctx context.Context, cause, err error) error {
	if errors.Is(context.Cause(ctx), cause) {
		return cause
	}
	return err
}

// timedBody ends the timer of its request when it is closed.
type timedBody struct {
	io.ReadCloser
	ctx    context.Context
	cause  error
	cancel context.CancelFunc
}

func (b *timedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err != nil && err != io.EOF {
		err = because(b.ctx, b.cause, err)
	}
	return n, err
}

func (b *timedBody) Close() error {
	err := b.ReadCloser.Close()
	b.cancel()
	return err
}

// refuse is the transport of a disabled client: each request fails with err.
type refuse struct{ err error }

// RoundTrip implements http.RoundTripper.
func (r refuse) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.Body != nil {
		req.Body.Close()
	}
	return nil, r.err
}
