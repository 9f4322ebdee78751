// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package main

import (
	"bufio"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/runtime"
)

// What a server of collections is told on stdin, a word a line, and what it says.
const (
	tellChange = "change" // send the next round of changes to whoever watches
	tellExpire = "expire" // end all watches with 410 Gone

	saysFollowed = "followed" // somebody has everything, and watches
)

// wireServer serves collections as an API server does, out of what was encoded before.
//
//   - A list of version "0" is whole, whatever its limit, and so is one without.
//   - Changes are sent to those who watch. Lists and watches that are asked for later
//     do not have them.
//   - Nothing is compressed.
type wireServer struct {
	collections []*wireCollection
	beat        time.Duration // how often a watch gets a bookmark
	followed    func()        // is called when a watch was told everything

	mu      sync.Mutex
	expired bool                     // watches are, until somebody lists
	watches map[chan string]struct{} // of what they are told
}

func newWireServer(collections []*wireCollection, beat time.Duration, followed func()) *wireServer {
	return &wireServer{collections: collections, beat: beat, followed: followed, watches: map[chan string]struct{}{}}
}

// tell has all watches do something.
func (s *wireServer) tell(what string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.expired = s.expired || what == tellExpire
	for w := range s.watches {
		w <- what // there is room
	}
}

// enter makes a watch known, or reports that it is of a version that is too old.
func (s *wireServer) enter(initial bool) (told chan string, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if initial {
		s.expired = false
	}
	if s.expired {
		return nil, false
	}
	told = make(chan string, 16)
	s.watches[told] = struct{}{}
	return told, true
}

func (s *wireServer) leave(told chan string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.watches, told)
}

// collection is what a request is for, nil if there is none that it accepts.
func (s *wireServer) collection(r *http.Request) *wireCollection {
	var forms []string
	accept := r.Header.Get("Accept")
	switch r.URL.Path {
	case "/api/v1/pods":
		if accepts(accept) {
			forms = append(forms, wireProtobuf)
		}
		forms = append(forms, wireJSON)
	case "/apis/" + widgets.Group + "/" + widgets.Version + "/" + widgets.Resource:
		forms = append(forms, wireWidgets)
	}
	for _, form := range forms {
		if form != wireProtobuf && accept != "" && !strings.Contains(accept, "json") && !strings.Contains(accept, "*/*") {
			continue
		}
		if i := slices.IndexFunc(s.collections, func(c *wireCollection) bool { return c.form == form }); i >= 0 {
			return s.collections[i]
		}
	}
	return nil
}

// ServeHTTP implements http.Handler.
func (s *wireServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c := s.collection(r)
	if c == nil {
		http.Error(w, "there is nothing of the kind", http.StatusNotFound)
		return
	}
	contentType := runtime.ContentTypeJSON
	if c.form == wireProtobuf {
		contentType = runtime.ContentTypeProtobuf
	}
	query := r.URL.Query()
	var err error
	if query.Get("watch") == "true" || query.Get("watch") == "1" {
		if c.form == wireProtobuf {
			contentType += ";stream=watch"
		}
		w.Header().Set("Content-Type", contentType)
		err = s.watch(w, r, c, query.Get("sendInitialEvents") == "true")
	} else {
		from, to, ok := pageOf(query, c.objects)
		if !ok {
			http.Error(w, "bad limit or continue", http.StatusBadRequest)
			return
		}
		w.Header().Set("Content-Type", contentType)
		err = s.list(w, c, from, to)
	}
	if err != nil {
		panic(http.ErrAbortHandler) // most likely the client is gone
	}
}

func (s *wireServer) list(w io.Writer, c *wireCollection, from, to int) error {
	s.mu.Lock()
	s.expired = false
	s.mu.Unlock()
	parts, err := c.list(from, to)
	if err != nil {
		return err
	}
	for _, part := range parts {
		if _, err := w.Write(part); err != nil {
			return err
		}
	}
	return nil
}

// watch lasts until the client or the server ends, or it is told to.
func (s *wireServer) watch(w http.ResponseWriter, r *http.Request, c *wireCollection, initial bool) error {
	send := func(parts ...[]byte) error {
		for _, part := range parts {
			if _, err := w.Write(part); err != nil {
				return err
			}
		}
		return http.NewResponseController(w).Flush()
	}
	rounds := c.rounds
	told, ok := s.enter(initial)
	if !ok {
		return send(c.gone)
	}
	defer s.leave(told)
	if initial {
		if err := send(c.added.data, c.initialEnd); err != nil {
			return err
		}
	} else if err := send(); err != nil {
		return err
	}
	s.followed()
	ticker := time.NewTicker(s.beat)
	defer ticker.Stop()
	for {
		select {
		case <-r.Context().Done():
			return nil
		case <-ticker.C:
			if err := send(c.mark); err != nil {
				return err
			}
		case what := <-told:
			switch what {
			case tellChange:
				if len(rounds) == 0 {
					return errors.New("there are no more changes")
				}
				if err := send(rounds[0]); err != nil {
					return err
				}
				rounds = rounds[1:]
			case tellExpire:
				return send(c.gone)
			}
		}
	}
}

// serveWire is the process of a server. It prints its address when all is encoded,
// and serves until stdin ends.
func serveWire(args []string, stdin io.Reader, stdout, stderr io.Writer) error {
	flags := flag.NewFlagSet(commandServeWire, flag.ContinueOnError)
	flags.SetOutput(stderr)
	objects := flags.Int("objects", 0, "how many `objects` there are")
	changes := flags.Int("changes", 0, "how many `objects` can be told to change")
	rounds := flags.Int("rounds", 0, "how `often` they can")
	form := flags.String("form", wireProtobuf, "what they are sent as")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if *objects < 1 {
		return fmt.Errorf("%s: -objects must be above zero", commandServeWire)
	}
	collection, err := newWireCollection(*form, *objects, *changes, *rounds)
	if err != nil {
		return err
	}
	var saying sync.Mutex // of those who follow; the address is said before there is anyone
	s := newWireServer([]*wireCollection{collection}, 30*time.Second, func() {
		saying.Lock()
		defer saying.Unlock()
		fmt.Fprintln(stdout, saysFollowed)
	})
	return serve(s, stdout, func() error {
		in := bufio.NewScanner(stdin)
		for in.Scan() {
			s.tell(in.Text())
		}
		return in.Err()
	})
}
