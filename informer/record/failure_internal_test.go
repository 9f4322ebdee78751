// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package record

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"syscall"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/apiary-go/apiary/informer"
	"github.com/apiary-go/apiary/store"
)

// A replayed error has the class, the text, the status and the delay of the recorded one.
func TestFailures(t *testing.T) {
	pods := schema.GroupResource{Resource: "pods"}
	busy := apierrors.NewTooManyRequests("slow down", 17)
	large := apierrors.NewTimeoutError("Too large resource version: 10, current: 5", 1)
	large.ErrStatus.Details.Causes = []metav1.StatusCause{{Type: metav1.CauseTypeResourceVersionTooLarge}}
	seen := map[informer.Cause]bool{}
	for _, err := range []error{
		io.EOF, io.ErrUnexpectedEOF, errors.New("strange"), context.Canceled, context.DeadlineExceeded,
		fmt.Errorf("get: %w", syscall.ECONNREFUSED), &url.Error{Op: "Get", URL: "https://server", Err: syscall.ECONNRESET},
		errors.New("http2: client connection lost"), errors.New("getting credentials: exec: none"),
		busy, fmt.Errorf("wrapped: %w", busy), large,
		apierrors.NewForbidden(pods, "", errors.New("no role")), apierrors.NewUnauthorized("no"), apierrors.NewNotFound(pods, ""),
		apierrors.NewMethodNotSupported(pods, "watch"), apierrors.NewResourceExpired("gone"),
		apierrors.NewInternalError(errors.New("broken")), apierrors.NewBadRequest("bad"),
		apierrors.NewInvalid(schema.GroupKind{Kind: "ListOptions"}, "", nil), apierrors.NewServerTimeout(pods, "list", 3),
		apierrors.NewServiceUnavailable("away"), &meta.NoKindMatchError{GroupKind: schema.GroupKind{Kind: "Widget"}},
		&informer.DecodingError{Err: errors.New("field x")}, &informer.IdleTimeoutError{After: 3},
		&informer.DecodingError{Err: apierrors.NewBadRequest("bad")},
		informer.NewAnswerError(200, "text/html", []byte("<html><title>Sign in</title>")), store.ErrResync,
	} {
		text, failed := json.Marshal(failureOf(err))
		if failed != nil {
			t.Fatal(failed)
		}
		var f failure
		if failed := json.Unmarshal(text, &f); failed != nil {
			t.Fatal(failed)
		}
		got := f.err()
		seen[informer.CauseOf(err)] = true
		if g, w := informer.CauseOf(got), informer.CauseOf(err); g != w {
			t.Errorf("%v: the class is %q, want %q", err, g, w)
		}
		if (got == io.EOF) != (err == io.EOF) || got.Error() != err.Error() {
			t.Errorf("got %q, want %q", got, err)
		}
		g, _ := apierrors.SuggestsClientDelay(got)
		if w, _ := apierrors.SuggestsClientDelay(err); g != w {
			t.Errorf("%v: the delay is %d, want %d", err, g, w)
		}
		for name, is := range map[string]func(error) bool{
			"bad request": apierrors.IsBadRequest, "invalid": apierrors.IsInvalid, "too large": func(err error) bool {
				return apierrors.HasStatusCause(err, metav1.CauseTypeResourceVersionTooLarge)
			},
		} {
			if informer.CauseOf(err) != informer.CauseDecoding && is(got) != is(err) {
				t.Errorf("%v: %s is %v, want %v", err, name, is(got), is(err))
			}
		}
	}
	for _, cause := range []informer.Cause{
		informer.CauseCanceled, informer.CauseForbidden, informer.CauseUnauthorized, informer.CauseCredentials, informer.CauseNotInstalled,
		informer.CauseNotSupported, informer.CauseRefused, informer.CauseConnection, informer.CauseNotAPIServer, informer.CauseSilent,
		informer.CauseTimeout, informer.CauseThrottled, informer.CauseExpired, informer.CauseServer, informer.CauseRejected,
		informer.CauseDecoding, informer.CauseSink, informer.CauseUnknown,
	} {
		if !seen[cause] {
			t.Errorf("no error of class %q", cause)
		}
	}
}

// The page of a proxy is not recorded, and no password of a URL.
func TestFailuresWithoutContent(t *testing.T) {
	page := "<html>" + strings.Repeat("csrf-secret ", 50)
	for _, err := range []error{
		apierrors.NewGenericServerResponse(http.StatusBadGateway, "get", schema.GroupResource{Resource: "pods"}, "", page, 0, true),
		&url.Error{Op: "Get", URL: "https://user:csrf-secret@server/", Err: syscall.ECONNRESET},
	} {
		text, failed := json.Marshal(failureOf(fmt.Errorf("list: %w", err)))
		if failed != nil || strings.Contains(string(text), "csrf-secret") {
			t.Errorf("%s, error %v", text, failed)
		}
	}
}
