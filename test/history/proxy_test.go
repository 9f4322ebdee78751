// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package history_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/kubernetes/scheme"

	"github.com/apiary-go/apiary/internal/servertest"
)

const (
	jsonType  = "application/json"
	protoType = "application/vnd.kubernetes.protobuf"
)

// server serves a history.
type server struct {
	h     *history
	calm  chan struct{} // closed: there are no faults from here on
	lying bool          // watches bring versions that they were not asked for

	streams   bool // initial events are served
	bookmarks bool
	future    int // what becomes of watches from a version that is to come

	mu     sync.Mutex
	faults map[string]int
	served int // requests

	wg sync.WaitGroup // of watches
}

func newServer(rng *rand.Rand) *server {
	return &server{
		h: newHistory(), calm: make(chan struct{}), faults: map[string]int{},
		streams: rng.IntN(3) > 0, bookmarks: rng.IntN(4) > 0, future: rng.IntN(3),
	}
}

func (s *server) isCalm() bool {
	select {
	case <-s.calm:
		return true
	default:
		return false
	}
}

// proxy is the way of one client to the server, with faults of its own. They are below HTTP as
// well: bodies that break off, stall or are no list. fakeapi has the faults that a client sees
// of a server in order, and forgets the states that the test compares with.
type proxy struct {
	*server
	mu     sync.Mutex
	rng    *rand.Rand
	often  int       // a request has a fault once in so many times
	outage string    // each request has this fault,
	until  time.Time // up to then
	note   func(fault string)
	good   bool // the client has had a page of a list
}

func (p *proxy) roll(n int) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.rng.IntN(n)
}

// chance is true once in n times while there are faults.
func (p *proxy) chance(n int) bool { return !p.isCalm() && p.roll(n) == 0 }

// fault counts a fault. It reports true.
func (p *proxy) fault(kind string) bool {
	p.count(kind)
	p.note(kind)
	return true
}

func (s *server) count(kind string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults[kind]++
}

// RoundTrip answers a request, or not.
func (p *proxy) RoundTrip(r *http.Request) (*http.Response, error) {
	p.server.mu.Lock()
	p.served++
	p.server.mu.Unlock()
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	if kind := p.refusal(); kind != "" {
		p.fault(kind)
		resp, err := p.refuse(r, kind)
		if resp != nil || err != nil {
			return resp, err
		}
	}
	if r.URL.Query().Get("watch") != "" {
		return p.watch(r)
	}
	return p.list(r)
}

// answers are those that say nothing of the collection, by what is wrong with them.
var answers = map[string]struct {
	code  int
	after string
}{
	"408": {408, ""}, "409": {409, ""}, "410": {410, ""}, "429": {429, ""}, "429 after 1": {429, "1"},
	"429 after very long": {429, "999999999999"}, "500": {500, ""}, "502": {502, ""}, "503": {503, ""},
	"503 after 30": {503, "30"}, "504": {504, ""}, "401": {401, ""}, "403": {403, ""}, "404": {404, ""}, "405": {405, ""},
}

// refusals are faults of any request.
var refusals = []string{
	"408", "409", "410", "429", "429 after 1", "429 after very long", "500", "502", "503", "503 after 30", "504",
	"401", "403", "404", "405", "refused", "reset", "page of HTML", "HTML of 502", "204", "empty", "slow", "no answer",
	"{}", "null", "Success", "another kind", "garbage",
}

// versionless are lists without a version, or are taken for such. Nothing but an earlier
// list shows a client that they are none.
var versionless = []string{"{}", "null", "Success", "another kind"}

// refusal chooses a fault for a request, or none.
func (p *proxy) refusal() string {
	if p.isCalm() {
		return ""
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	kind := p.choose()
	if !p.good && slices.Contains(versionless, kind) {
		return ""
	}
	return kind
}

// choose chooses a fault, with the lock.
func (p *proxy) choose() string {
	switch {
	case time.Now().Before(p.until):
		return p.outage
	case p.rng.IntN(60) == 0:
		p.outage, p.until = refusals[p.rng.IntN(len(refusals))], time.Now().Add(time.Duration(p.rng.IntN(240))*time.Second)
		return p.outage
	case p.rng.IntN(p.often) == 0:
		return refusals[p.rng.IntN(len(refusals))]
	}
	return ""
}

// refuse answers a request in a way of its own; with nothing if it is to be served.
func (p *proxy) refuse(r *http.Request, kind string) (*http.Response, error) {
	const page = "<!DOCTYPE html><html><body>sign in, please</body></html>"
	if a, ok := answers[kind]; ok {
		return p.status(r, a.code, a.after)
	}
	switch kind {
	case "refused":
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: syscall.ECONNREFUSED}
	case "reset":
		return nil, syscall.ECONNRESET
	case "page of HTML":
		return servertest.Answer(r, 200, "text/html", strings.NewReader(page)), nil
	case "HTML of 502":
		return servertest.Answer(r, 502, "text/html", strings.NewReader(page)), nil
	case "204":
		return servertest.Answer(r, 204, jsonType, strings.NewReader("")), nil
	case "empty":
		return servertest.Answer(r, 200, accepted(r), strings.NewReader("")), nil
	case "{}", "null":
		return servertest.Answer(r, 200, jsonType, strings.NewReader(kind)), nil
	case "garbage":
		return servertest.Answer(r, 200, accepted(r), strings.NewReader("\x00\x01k8s{{{[")), nil
	case "Success":
		return p.encoded(r, 200, &metav1.Status{TypeMeta: metav1.TypeMeta{Kind: "Status", APIVersion: "v1"}, Status: "Success"})
	case "another kind":
		other := &corev1.SecretList{TypeMeta: metav1.TypeMeta{Kind: "SecretList", APIVersion: "v1"}}
		other.ResourceVersion = p.version()
		return p.encoded(r, 200, other)
	case "slow":
		return nil, p.wait(r.Context(), time.Duration(p.roll(100))*time.Second)
	case "no answer":
		<-r.Context().Done()
		return nil, r.Context().Err()
	}
	panic(kind)
}

// known notes whether the client has had a page of a list.
func (p *proxy) known(good bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.good = good
}

func (p *proxy) version() string {
	p.h.mu.Lock()
	defer p.h.mu.Unlock()
	return strconv.FormatInt(p.h.version, 10)
}

func (p *proxy) wait(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// status answers with an error of the server.
func (p *proxy) status(r *http.Request, code int, after string) (*http.Response, error) {
	status := statusOf(code)
	resp, err := p.encoded(r, code, status)
	if err == nil && after != "" {
		resp.Header.Set("Retry-After", after)
	}
	return resp, err
}

func statusOf(code int) *metav1.Status {
	err := apierrors.NewGenericServerResponse(code, "get", schema.GroupResource{Resource: "configmaps"}, "", "the server is not well", 0, false)
	if code == 410 {
		err = apierrors.NewResourceExpired("the version is too old")
	}
	status := err.ErrStatus
	status.TypeMeta = metav1.TypeMeta{Kind: "Status", APIVersion: "v1"}
	return &status
}

// tooLarge is the answer to a request of a version that is to come.
func tooLarge() *metav1.Status {
	err := apierrors.NewTimeoutError("Too large resource version", 1)
	err.ErrStatus.Details.Causes = []metav1.StatusCause{{Type: metav1.CauseTypeResourceVersionTooLarge, Message: "Too large resource version"}}
	err.ErrStatus.TypeMeta = metav1.TypeMeta{Kind: "Status", APIVersion: "v1"}
	return &err.ErrStatus
}

func accepted(r *http.Request) string {
	if strings.Contains(r.Header.Get("Accept"), protoType) {
		return protoType
	}
	return jsonType
}

func serializer(mediaType string) runtime.SerializerInfo {
	info, ok := runtime.SerializerInfoForMediaType(scheme.Codecs.SupportedMediaTypes(), mediaType)
	if !ok {
		panic(mediaType)
	}
	return info
}

func encode(mediaType string, obj runtime.Object) []byte {
	var buf bytes.Buffer
	if err := scheme.Codecs.EncoderForVersion(serializer(mediaType).Serializer, corev1.SchemeGroupVersion).Encode(obj, &buf); err != nil {
		panic(fmt.Sprint(err, " ", errors.Unwrap(err)))
	}
	return buf.Bytes()
}

func (p *proxy) encoded(r *http.Request, code int, obj runtime.Object) (*http.Response, error) {
	return servertest.Answer(r, code, accepted(r), bytes.NewReader(encode(accepted(r), obj))), nil
}
