// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

// Package informertest has what the tests of informer and of the sinks on it share: API
// servers in memory, of a script or of a random history, and sinks that record.
package informertest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/cache"
)

// Object is the type of the objects.
type Object = *metav1.PartialObjectMetadata

// ParseObject reads "name@version" or "name#uid@version".
func ParseObject(text string) Object {
	name, version, _ := strings.Cut(text, "@")
	name, uid, _ := strings.Cut(name, "#")
	obj := &metav1.PartialObjectMetadata{}
	obj.Name, obj.UID, obj.ResourceVersion = name, types.UID(uid), version
	return obj
}

// ParseError reads what a scripted server or network fails with.
func ParseError(words []string) error {
	pods := schema.GroupResource{Resource: "pods"}
	var err *apierrors.StatusError
	switch words[0] {
	case "refused":
		return &url.Error{Op: "Get", URL: "https://server/pods", Err: &net.OpError{
			Op: "dial", Net: "tcp", Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}}
	case "reset":
		return &url.Error{Op: "Get", URL: "https://server/pods", Err: &net.OpError{
			Op: "read", Net: "tcp", Err: os.NewSyscallError("read", syscall.ECONNRESET)}}
	case "toolarge":
		err = apierrors.NewTimeoutError("Too large resource version: 10, current: 5", 1)
		err.ErrStatus.Details.Causes = []metav1.StatusCause{{Type: metav1.CauseTypeResourceVersionTooLarge}}
	case "410":
		err = apierrors.NewResourceExpired("the version is gone")
	case "403":
		err = apierrors.NewForbidden(pods, "", errors.New("no role"))
	case "404":
		err = apierrors.NewNotFound(pods, "")
	case "405":
		err = apierrors.NewMethodNotSupported(pods, "watch")
	case "422":
		err = apierrors.NewInvalid(schema.GroupKind{Kind: "ListOptions"}, "", nil)
	case "429":
		err = apierrors.NewTooManyRequestsError("slow down")
	case "500":
		err = apierrors.NewInternalError(errors.New("broken"))
	case "400":
		err = apierrors.NewBadRequest("bad version")
	default:
		panic("unknown error " + words[0])
	}
	for _, w := range words[1:] {
		if s, ok := strings.CutPrefix(w, "retry="); ok {
			err.ErrStatus.Details = &metav1.StatusDetails{RetryAfterSeconds: int32(Number(s))}
		}
	}
	return err
}

// Number reads a number of a script.
func Number(s string) int64 {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		panic(err)
	}
	return n
}

// Duration reads a duration of a script.
func Duration(s string) time.Duration {
	d, err := time.ParseDuration(s)
	if err != nil {
		panic(err)
	}
	return d
}

// Reply is a scripted answer to one request.
type Reply struct {
	Verb  string
	Words []string // of the line, after the verb
	Lines []string // what a watch does
}

// ScriptedServer answers requests in the order of its replies, and leaves
// further requests unanswered. A script has each version and each wrong answer, at an exact
// time. fakeapi chooses the versions, and its answers are right.
type ScriptedServer struct {
	cache.ListerWatcher // nil: its methods are not called
	Log                 func(format string, args ...any)

	mu      sync.Mutex
	Replies []Reply
	Marker  bool
}

// Read takes a line of a script if it is one for the server.
func (s *ScriptedServer) Read(line string) bool {
	words := strings.Fields(line)
	switch {
	case len(words) == 0 || words[0] == "#":
	case line[0] == ' ' || line[0] == '\t':
		last := &s.Replies[len(s.Replies)-1]
		last.Lines = append(last.Lines, strings.TrimSpace(line))
	case words[0] == "list" || words[0] == "watch":
		times := int64(1)
		if n, ok := strings.CutPrefix(words[len(words)-1], "times="); ok {
			times, words = Number(n), words[:len(words)-1]
		}
		for range times {
			s.Replies = append(s.Replies, Reply{Verb: words[0], Words: words[1:]})
		}
	default:
		return false
	}
	return true
}

func (s *ScriptedServer) IsWatchListSemanticsUnSupported() bool { return s.Marker }

func (s *ScriptedServer) take(verb string) (Reply, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.Replies) == 0 {
		return Reply{Words: []string{"hang"}}, nil
	}
	r := s.Replies[0]
	if r.Verb != verb {
		s.Log("  !! the script has a %s here", r.Verb)
		return Reply{}, errors.New("not in the script")
	}
	s.Replies = s.Replies[1:]
	return r, nil
}

func describe(opts metav1.ListOptions) string {
	var b strings.Builder
	if opts.Limit != 0 {
		fmt.Fprintf(&b, " limit=%d", opts.Limit)
	}
	if opts.Continue != "" {
		fmt.Fprintf(&b, " continue=%s", opts.Continue)
	}
	if opts.ResourceVersion != "" {
		fmt.Fprintf(&b, " version=%s", opts.ResourceVersion)
	}
	if opts.ResourceVersionMatch != "" {
		fmt.Fprintf(&b, " match=%s", opts.ResourceVersionMatch)
	}
	if opts.SendInitialEvents != nil && *opts.SendInitialEvents {
		b.WriteString(" initial-events")
	}
	if opts.AllowWatchBookmarks {
		b.WriteString(" bookmarks")
	}
	if t := opts.TimeoutSeconds; t != nil && (*t < 300 || *t >= 600) {
		fmt.Fprintf(&b, " timeout=%d!", *t)
	}
	return b.String()
}

func (s *ScriptedServer) ListWithContext(ctx context.Context, opts metav1.ListOptions) (runtime.Object, error) {
	s.Log("> list%s", describe(opts))
	r, err := s.take("list")
	if err != nil {
		return nil, err
	}
	list := &metav1.PartialObjectMetadataList{}
	for i, w := range r.Words {
		key, value, _ := strings.Cut(w, "=")
		switch key {
		case "hang":
			<-ctx.Done()
			return nil, ctx.Err()
		case "error":
			return nil, ParseError(r.Words[i+1:])
		case "after":
			select {
			case <-time.After(Duration(value)):
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		case "rv":
			list.ResourceVersion = value
		case "continue":
			list.Continue = value
		case "remaining":
			n := Number(value)
			list.RemainingItemCount = &n
		case "nameless":
			list.Items = append(list.Items, metav1.PartialObjectMetadata{})
		default:
			list.Items = append(list.Items, *ParseObject(w))
		}
	}
	return list, nil
}

func (s *ScriptedServer) WatchWithContext(ctx context.Context, opts metav1.ListOptions) (watch.Interface, error) {
	s.Log("> watch%s", describe(opts))
	r, err := s.take("watch")
	if err != nil {
		return nil, err
	}
	if len(r.Words) > 0 {
		switch r.Words[0] {
		case "error":
			return nil, ParseError(r.Words[1:])
		case "hang":
			<-ctx.Done()
			return nil, ctx.Err()
		}
	}
	w := newPlayedWatch()
	go w.play(r.Lines)
	return w, nil
}

// playedWatch is a watch of events that a goroutine plays, which closes them at its end.
type playedWatch struct {
	events chan watch.Event
	done   chan struct{}
	once   sync.Once
}

func newPlayedWatch() *playedWatch {
	return &playedWatch{events: make(chan watch.Event), done: make(chan struct{})}
}

func (w *playedWatch) ResultChan() <-chan watch.Event { return w.events }
func (w *playedWatch) Stop()                          { w.once.Do(func() { close(w.done) }) }

// send sends an event. It returns false if the watch was stopped.
func (w *playedWatch) send(kind watch.EventType, obj runtime.Object) bool {
	select {
	case w.events <- watch.Event{Type: kind, Object: obj}:
		return true
	case <-w.done:
		return false
	}
}

// wait waits. It returns false if the watch was stopped.
func (w *playedWatch) wait(d time.Duration) bool {
	select {
	case <-time.After(d):
		return true
	case <-w.done:
		return false
	}
}

// play plays the lines of a script.
func (w *playedWatch) play(lines []string) {
	defer close(w.events)
	for _, line := range lines {
		words := strings.Fields(line)
		var e watch.Event
		switch words[0] {
		case "close":
			return
		case "after":
			if !w.wait(Duration(words[1])) {
				return
			}
			continue
		case "error":
			err := ParseError(words[1:]).(apierrors.APIStatus).Status()
			e = watch.Event{Type: watch.Error, Object: &err}
		case "bookmark", "end":
			obj := ParseObject("@" + words[1])
			if words[0] == "end" {
				obj.Annotations = map[string]string{metav1.InitialEventsAnnotationKey: "true"}
			}
			e = watch.Event{Type: watch.Bookmark, Object: obj}
		case "garbage":
			e = watch.Event{Type: watch.Modified, Object: &metav1.PartialObjectMetadata{}}
		default:
			kinds := map[byte]watch.EventType{'+': watch.Added, '~': watch.Modified, '-': watch.Deleted}
			e = watch.Event{Type: kinds[line[0]], Object: ParseObject(line[1:])}
		}
		if !w.send(e.Type, e.Object) {
			return
		}
	}
	<-w.done
}

// Scripted makes a server of its replies.
func Scripted(t *testing.T, replies ...Reply) *ScriptedServer {
	return &ScriptedServer{Log: t.Logf, Marker: true, Replies: replies}
}

// Listed is the reply to a list, Watched that to a watch.
func Listed(words string) Reply { return Reply{Verb: "list", Words: strings.Fields(words)} }

func Watched(lines ...string) Reply { return Reply{Verb: "watch", Lines: lines} }
