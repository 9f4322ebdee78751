// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package informer_test

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
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
)

type object = *metav1.PartialObjectMetadata

// parseObject reads "name@version" or "name#uid@version".
func parseObject(text string) object {
	name, version, _ := strings.Cut(text, "@")
	name, uid, _ := strings.Cut(name, "#")
	obj := &metav1.PartialObjectMetadata{}
	obj.Name, obj.UID, obj.ResourceVersion = name, types.UID(uid), version
	return obj
}

// parseError reads what a scripted server or network fails with.
func parseError(words []string) error {
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
			err.ErrStatus.Details = &metav1.StatusDetails{RetryAfterSeconds: int32(number(s))}
		}
	}
	return err
}

func number(s string) int64 {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		panic(err)
	}
	return n
}

func duration(s string) time.Duration {
	d, err := time.ParseDuration(s)
	if err != nil {
		panic(err)
	}
	return d
}

// reply is a scripted answer to one request.
type reply struct {
	verb  string
	words []string // of the line, after the verb
	lines []string // what a watch does
}

// scriptedServer answers requests in the order of its replies, and leaves
// further requests unanswered.
type scriptedServer struct {
	log func(format string, args ...any)

	mu      sync.Mutex
	replies []reply
	marker  bool
}

// read takes a line of a script if it is one for the server.
func (s *scriptedServer) read(line string) bool {
	words := strings.Fields(line)
	switch {
	case len(words) == 0 || words[0] == "#":
	case line[0] == ' ' || line[0] == '\t':
		last := &s.replies[len(s.replies)-1]
		last.lines = append(last.lines, strings.TrimSpace(line))
	case words[0] == "list" || words[0] == "watch":
		s.replies = append(s.replies, reply{verb: words[0], words: words[1:]})
	default:
		return false
	}
	return true
}

func (s *scriptedServer) IsWatchListSemanticsUnSupported() bool { return s.marker }

func (s *scriptedServer) take(verb string) (reply, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.replies) == 0 {
		return reply{words: []string{"hang"}}, nil
	}
	r := s.replies[0]
	if r.verb != verb {
		s.log("  !! the script has a %s here", r.verb)
		return reply{}, errors.New("not in the script")
	}
	s.replies = s.replies[1:]
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

func (s *scriptedServer) ListWithContext(ctx context.Context, opts metav1.ListOptions) (runtime.Object, error) {
	s.log("> list%s", describe(opts))
	r, err := s.take("list")
	if err != nil {
		return nil, err
	}
	list := &metav1.PartialObjectMetadataList{}
	for i, w := range r.words {
		key, value, _ := strings.Cut(w, "=")
		switch key {
		case "hang":
			<-ctx.Done()
			return nil, ctx.Err()
		case "error":
			return nil, parseError(r.words[i+1:])
		case "rv":
			list.ResourceVersion = value
		case "continue":
			list.Continue = value
		case "remaining":
			n := number(value)
			list.RemainingItemCount = &n
		case "nameless":
			list.Items = append(list.Items, metav1.PartialObjectMetadata{})
		default:
			list.Items = append(list.Items, *parseObject(w))
		}
	}
	return list, nil
}

func (s *scriptedServer) WatchWithContext(ctx context.Context, opts metav1.ListOptions) (watch.Interface, error) {
	s.log("> watch%s", describe(opts))
	r, err := s.take("watch")
	if err != nil {
		return nil, err
	}
	if len(r.words) > 0 {
		switch r.words[0] {
		case "error":
			return nil, parseError(r.words[1:])
		case "hang":
			<-ctx.Done()
			return nil, ctx.Err()
		}
	}
	w := &scriptedWatch{events: make(chan watch.Event), done: make(chan struct{})}
	go w.play(r.lines)
	return w, nil
}

func (s *scriptedServer) List(metav1.ListOptions) (runtime.Object, error) {
	return nil, errors.New("List without a context")
}

func (s *scriptedServer) Watch(metav1.ListOptions) (watch.Interface, error) {
	return nil, errors.New("Watch without a context")
}

type scriptedWatch struct {
	events chan watch.Event
	done   chan struct{}
	once   sync.Once
}

func (w *scriptedWatch) ResultChan() <-chan watch.Event { return w.events }
func (w *scriptedWatch) Stop()                          { w.once.Do(func() { close(w.done) }) }

func (w *scriptedWatch) play(lines []string) {
	defer close(w.events)
	for _, line := range lines {
		words := strings.Fields(line)
		var e watch.Event
		switch words[0] {
		case "close":
			return
		case "after":
			select {
			case <-time.After(duration(words[1])):
			case <-w.done:
				return
			}
			continue
		case "error":
			err := parseError(words[1:]).(apierrors.APIStatus).Status()
			e = watch.Event{Type: watch.Error, Object: &err}
		case "bookmark", "end":
			obj := parseObject("@" + words[1])
			if words[0] == "end" {
				obj.Annotations = map[string]string{metav1.InitialEventsAnnotationKey: "true"}
			}
			e = watch.Event{Type: watch.Bookmark, Object: obj}
		case "garbage":
			e = watch.Event{Type: watch.Modified, Object: &metav1.PartialObjectMetadata{}}
		default:
			kinds := map[byte]watch.EventType{'+': watch.Added, '~': watch.Modified, '-': watch.Deleted}
			e = watch.Event{Type: kinds[line[0]], Object: parseObject(line[1:])}
		}
		select {
		case w.events <- e:
		case <-w.done:
			return
		}
	}
	<-w.done
}
