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

// The commands of a server of collections on stdin, one a line, and its output.
const (
	serverChange = "change" // send the next round of changes to all watches
	serverExpire = "expire" // end all watches with 410 Gone

	serverFollowed = "followed" // a watch has received everything so far
)

// wireServer serves collections like an API server. Everything it sends is encoded before.
//
//   - A list of version "0" ignores the limit. A list without a limit has one page.
//   - Changes are sent to open watches. Later lists and watches do not contain them.
//   - Nothing is compressed.
//
// The server is to be cheap beside its clients. fakeapi encodes each event for each watch.
type wireServer struct {
	collections []*wireCollection
	beat        time.Duration // how often a watch gets a bookmark
	followed    func()        // called when a watch has received everything so far

	mu      sync.Mutex
	expired bool                     // watches are refused until the next list
	watches map[chan string]struct{} // the commands for each watch
}

func newWireServer(collections []*wireCollection, beat time.Duration, followed func()) *wireServer {
	return &wireServer{collections: collections, beat: beat, followed: followed, watches: map[chan string]struct{}{}}
}

// broadcast sends a command to all watches.
func (s *wireServer) broadcast(command string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.expired = s.expired || command == serverExpire
	for w := range s.watches {
		w <- command // buffered
	}
}

// enter registers a watch. ok is false if its version has expired.
func (s *wireServer) enter(initial bool) (commands chan string, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if initial {
		s.expired = false
	}
	if s.expired {
		return nil, false
	}
	commands = make(chan string, 16)
	s.watches[commands] = struct{}{}
	return commands, true
}

func (s *wireServer) leave(commands chan string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.watches, commands)
}

// collection returns the collection of a request, nil if there is none that it accepts.
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
		http.Error(w, "there is no such collection", http.StatusNotFound)
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

// watch serves a watch until the client or the server ends, or until serverExpire.
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
	commands, ok := s.enter(initial)
	if !ok {
		return send(c.gone)
	}
	defer s.leave(commands)
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
		case what := <-commands:
			switch what {
			case serverChange:
				if len(rounds) == 0 {
					return errors.New("there are no more changes")
				}
				if err := send(rounds[0]); err != nil {
					return err
				}
				rounds = rounds[1:]
			case serverExpire:
				return send(c.gone)
			}
		}
	}
}

// serveWire is the process of a server. It encodes everything, prints its address, and
// serves until stdin ends.
func serveWire(args []string, stdin io.Reader, stdout, stderr io.Writer) error {
	flags := flag.NewFlagSet(commandServeWire, flag.ContinueOnError)
	flags.SetOutput(stderr)
	objects := flags.Int("objects", 0, "number of `objects`")
	changes := flags.Int("changes", 0, "number of `objects` that change in each round")
	rounds := flags.Int("rounds", 0, "number of rounds of changes")
	form := flags.String("form", wireProtobuf, "encoding of the objects")
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
	var writing sync.Mutex // orders the lines of watches; the address is printed before
	s := newWireServer([]*wireCollection{collection}, 30*time.Second, func() {
		writing.Lock()
		defer writing.Unlock()
		fmt.Fprintln(stdout, serverFollowed)
	})
	return serve(s, stdout, func() error {
		in := bufio.NewScanner(stdin)
		for in.Scan() {
			s.broadcast(in.Text())
		}
		return in.Err()
	})
}
