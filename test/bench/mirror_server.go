// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
)

// podServer serves a constant collection of pods in protobuf, like an API server. It
// implements what the contestants use: lists, paged or whole, and watches, with or
// without initial events.
//
//   - A list of version "0" ignores the limit. A list without a limit has one page.
//   - Nothing is compressed. The only state of a client is its position. fakeapi would hold
//     all pods and their history.
type podServer struct {
	pods int
	beat time.Duration // how often a watch gets a bookmark
}

// ServeHTTP implements http.Handler.
func (s podServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	var err error
	switch {
	case r.URL.Path != "/api/v1/pods":
		http.NotFound(w, r)
	case !accepts(r.Header.Get("Accept")):
		http.Error(w, "there is protobuf only", http.StatusNotAcceptable)
	case query.Get("watch") == "true" || query.Get("watch") == "1":
		err = s.watch(r.Context(), w, query.Get("sendInitialEvents") == "true")
	default:
		from, to, ok := pageOf(query, s.pods)
		if !ok {
			http.Error(w, "bad limit or continue", http.StatusBadRequest)
			return
		}
		err = s.list(w, from, to)
	}
	if err != nil {
		panic(http.ErrAbortHandler) // most likely the client is gone
	}
}

// pageOf returns the objects [from, to) of a page.
func pageOf(query url.Values, objects int) (from, to int, ok bool) {
	from, err1 := natural(query.Get("continue"))
	limit, err2 := natural(query.Get("limit"))
	if limit == 0 || query.Get("resourceVersion") == "0" {
		limit = objects
	}
	return from, min(objects, from+limit), err1 == nil && err2 == nil && from <= objects
}

func natural(text string) (int, error) {
	if text == "" {
		return 0, nil
	}
	n, err := strconv.ParseUint(text, 10, 31)
	return int(n), err
}

// list sends the pods [from, to).
func (s podServer) list(w http.ResponseWriter, from, to int) error {
	item, err := encodePod(listItem)
	if err != nil {
		return err
	}
	meta := metav1.ListMeta{ResourceVersion: collectionVersion}
	if left := int64(s.pods - to); left > 0 {
		meta.Continue, meta.RemainingItemCount = strconv.Itoa(to), &left
	}
	head, err := listHead(meta, len(item.data)*(to-from))
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", runtime.ContentTypeProtobuf)
	out := bufio.NewWriterSize(w, 256<<10)
	if _, err := out.Write(head); err != nil {
		return err
	}
	if err := s.send(out, item, from, to); err != nil {
		return err
	}
	return out.Flush()
}

// send writes the bytes of the pods [from, to).
func (s podServer) send(w io.Writer, e *encoded, from, to int) error {
	var id identity
	for i := from; i < to; i++ {
		id.identify(i, s.pods)
		if _, err := w.Write(e.of(&id)); err != nil {
			return err
		}
	}
	return nil
}

// watch serves a watch until the client or the server ends.
func (s podServer) watch(ctx context.Context, w http.ResponseWriter, initial bool) error {
	added, err1 := encodePod(func(pod *corev1.Pod) ([]byte, error) { return watchFrame(watch.Added, pod) })
	end, err2 := bookmark(true)
	mark, err3 := bookmark(false)
	if err := errors.Join(err1, err2, err3); err != nil {
		return err
	}
	w.Header().Set("Content-Type", runtime.ContentTypeProtobuf+";stream=watch")
	out := bufio.NewWriterSize(w, 256<<10)
	flush := func() error {
		if err := out.Flush(); err != nil {
			return err
		}
		return http.NewResponseController(w).Flush()
	}
	if initial {
		if err := s.send(out, added, 0, s.pods); err != nil {
			return err
		}
		if _, err := out.Write(end); err != nil {
			return err
		}
	}
	ticker := time.NewTicker(s.beat)
	defer ticker.Stop()
	for {
		if err := flush(); err != nil {
			return err
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return nil
		}
		if _, err := out.Write(mark); err != nil {
			return err
		}
	}
}

// servePods is the process of the source. It prints its address, and serves until
// stdin ends.
func servePods(args []string, stdin io.Reader, stdout, stderr io.Writer) error {
	flags := flag.NewFlagSet(commandServe, flag.ContinueOnError)
	flags.SetOutput(stderr)
	pods := flags.Int("objects", 0, "how many `pods` there are")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if *pods < 1 {
		return fmt.Errorf("%s: -objects must be above zero", commandServe)
	}
	return serve(podServer{pods: *pods, beat: 2 * time.Second}, stdout, func() error {
		_, err := io.Copy(io.Discard, stdin)
		return err
	})
}

// serve prints an address on loopback, and serves there until wait returns.
func serve(handler http.Handler, stdout io.Writer, wait func() error) error {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	server := &http.Server{Handler: handler}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	if _, err = fmt.Fprintf(stdout, "http://%s\n", listener.Addr()); err == nil {
		err = wait()
	}
	_ = server.Close()
	if stopped := <-served; !errors.Is(stopped, http.ErrServerClosed) {
		return stopped
	}
	return err
}
