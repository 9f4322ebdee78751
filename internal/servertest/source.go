// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

// Package servertest contains sources and answers for tests that need less than an API
// server. CONTRIBUTING.md says which tests use what.
package servertest

import (
	"context"
	"io"
	"net/http"
	"strconv"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/apiary-go/apiary/informer"
	"github.com/apiary-go/apiary/store"
)

// Silent is a source that never answers. Unlike fakeapi it has no server, so a test of what
// happens before the first answer has no goroutine but those of the code under test.
type Silent[T any] struct {
	// Lists gets a value for each list, if it is not nil.
	Lists chan struct{}
}

// List implements informer.Source.
func (s Silent[T]) List(ctx context.Context, _ metav1.ListOptions, _ func(informer.Item[T]) error) (informer.Page, error) {
	if s.Lists != nil {
		select {
		case s.Lists <- struct{}{}:
		case <-ctx.Done(): // nobody counts them
		}
	}
	<-ctx.Done()
	return informer.Page{}, context.Cause(ctx)
}

// Watch implements informer.Source.
func (s Silent[T]) Watch(ctx context.Context, _ metav1.ListOptions) (informer.Stream[T], error) {
	<-ctx.Done()
	return nil, context.Cause(ctx)
}

// WatchList implements informer.Source.
func (Silent[T]) WatchList() bool { return false }

// OneList is a source whose lists have the same objects, of any type, and whose watches are
// silent. fakeapi and resourcetest have only Kubernetes objects.
type OneList[T any] struct {
	Silent[T]
	Objects []T
	Meta    func(T) store.Meta
}

// List implements informer.Source.
func (s OneList[T]) List(_ context.Context, _ metav1.ListOptions, yield func(informer.Item[T]) error) (informer.Page, error) {
	for _, obj := range s.Objects {
		if err := yield(item[T]{obj, s.Meta(obj)}); err != nil {
			return informer.Page{}, err
		}
	}
	return informer.Page{Version: "7", Remaining: -1}, nil
}

type item[T any] struct {
	obj  T
	meta store.Meta
}

func (i item[T]) Meta() store.Meta   { return i.meta }
func (i item[T]) Decode() (T, error) { return i.obj, nil }

// Answer returns a response to r, for transports of tests that answer byte by byte.
func Answer(r *http.Request, code int, contentType string, body io.Reader) *http.Response {
	return &http.Response{
		StatusCode: code, Status: strconv.Itoa(code) + " " + http.StatusText(code), Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: http.Header{"Content-Type": {contentType}}, Body: io.NopCloser(body), Request: r, ContentLength: -1,
	}
}
