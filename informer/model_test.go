// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package informer_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
)

// state is a collection: "uid@version" by name.
type state map[string]string

// model is an API server for one collection that remembers all of its history,
// but gives out only what is newer than its horizon.
type model struct {
	mu      sync.Mutex
	version int64
	horizon int64
	events  []modelEvent // ascending
	states  map[int64]state
	changed chan struct{}
}

type modelEvent struct {
	kind    watch.EventType
	version int64
	name    string
	uid     string
}

func newModel() *model {
	return &model{version: 1, states: map[int64]state{1: {}}, changed: make(chan struct{})}
}

// mutate creates, updates, deletes or recreates an object at random.
func (m *model) mutate(rng *rand.Rand) {
	m.mu.Lock()
	defer m.mu.Unlock()
	next := maps.Clone(m.states[m.version])
	name := string(rune('a' + rng.IntN(12)))
	e := modelEvent{version: m.version + 1 + rng.Int64N(2), name: name}
	old, exists := next[name]
	switch {
	case !exists:
		e.kind, e.uid = watch.Added, "u"+strconv.FormatInt(e.version, 10)
	case rng.IntN(3) == 0:
		e.kind, e.uid = watch.Deleted, old[:strings.Index(old, "@")]
	default:
		e.kind, e.uid = watch.Modified, old[:strings.Index(old, "@")]
	}
	if e.kind == watch.Deleted {
		delete(next, name)
	} else {
		next[name] = fmt.Sprintf("%s@%d", e.uid, e.version)
	}
	for v := m.version + 1; v < e.version; v++ {
		m.states[v] = m.states[m.version]
	}
	m.version, m.states[e.version] = e.version, next
	m.events = append(m.events, e)
	close(m.changed)
	m.changed = make(chan struct{})
}

func (m *model) compact() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.horizon = m.version
}

func (m *model) at(version int64) state {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.states[version]
}

func (m *model) now() (int64, state) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.version, m.states[m.version]
}

func modelObject(name, uid string, version int64) metav1.PartialObjectMetadata {
	return metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{
		Name: name, UID: types.UID(uid), ResourceVersion: strconv.FormatInt(version, 10),
	}}
}

func parseVersion(s string) int64 {
	if s == "" || s == "0" {
		return 0
	}
	return number(s)
}

// modelClient reads a model over a bad network, as long as there is chaos.
type modelClient struct {
	m       *model
	mu      sync.Mutex
	rng     *rand.Rand
	chaos   bool
	streams bool // WatchList is served

	unlimited []string // list requests that had no limit
}

func (c *modelClient) IsWatchListSemanticsUnSupported() bool { return false }

// chance is true once in n times while there is chaos.
func (c *modelClient) chance(n int) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.chaos && c.rng.IntN(n) == 0
}

func (c *modelClient) roll(n int) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.rng.IntN(n)
}

func (c *modelClient) calm() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.chaos = false
}

func (c *modelClient) fault(ctx context.Context) error {
	if !c.chance(5) {
		return nil
	}
	kinds := []string{"refused", "reset", "500", "429", "410", "toolarge"}
	if i := c.roll(len(kinds) + 1); i < len(kinds) {
		return parseError([]string{kinds[i]})
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(time.Duration(c.roll(400)) * time.Second):
		return parseError([]string{"reset"})
	}
}

// serves returns the version of the state that a request for one not older than
// from is answered with: the newest, or that of a server which lags behind.
func (c *modelClient) serves(from int64) int64 {
	version, _ := c.m.now()
	if from > 0 && from < version && c.chance(2) {
		return from + int64(c.roll(int(version-from)))
	}
	return version
}

func (c *modelClient) ListWithContext(ctx context.Context, opts metav1.ListOptions) (runtime.Object, error) {
	if opts.Limit == 0 {
		c.mu.Lock()
		c.unlimited = append(c.unlimited, describe(opts))
		c.mu.Unlock()
	}
	if err := c.fault(ctx); err != nil {
		return nil, err
	}
	version, _ := c.m.now()
	var content state
	after := ""
	if opts.Continue != "" {
		v, name, _ := strings.Cut(opts.Continue, "/")
		version, after = parseVersion(v), name
		c.m.mu.Lock()
		expired := version < c.m.horizon
		content = c.m.states[version]
		c.m.mu.Unlock()
		if expired {
			return nil, apierrors.NewResourceExpired("continue token too old")
		}
	} else if from := parseVersion(opts.ResourceVersion); from > version {
		return nil, parseError([]string{"toolarge"})
	} else {
		version = c.serves(from)
		content = c.m.at(version)
	}
	list := &metav1.PartialObjectMetadataList{}
	list.ResourceVersion = strconv.FormatInt(version, 10)
	for _, name := range slices.Sorted(maps.Keys(content)) {
		if name <= after {
			continue
		}
		if opts.Limit > 0 && len(list.Items) == int(opts.Limit) {
			list.Continue = fmt.Sprintf("%d/%s", version, list.Items[len(list.Items)-1].Name)
			break
		}
		uid, v, _ := strings.Cut(content[name], "@")
		list.Items = append(list.Items, modelObject(name, uid, parseVersion(v)))
	}
	return list, nil
}

func (c *modelClient) WatchWithContext(ctx context.Context, opts metav1.ListOptions) (watch.Interface, error) {
	if opts.SendInitialEvents != nil && !c.streams {
		return nil, parseError([]string{"422"})
	}
	if err := c.fault(ctx); err != nil {
		return nil, err
	}
	from := parseVersion(opts.ResourceVersion)
	version, _ := c.m.now()
	c.m.mu.Lock()
	horizon := c.m.horizon
	c.m.mu.Unlock()
	w := &modelWatch{c: c, events: make(chan watch.Event), done: make(chan struct{})}
	timeout := time.Duration(*opts.TimeoutSeconds) * time.Second
	switch {
	case opts.SendInitialEvents != nil:
		if from > version {
			return nil, parseError([]string{"toolarge"})
		}
		go w.play(ctx, c.serves(from), timeout, true, false)
	case from < horizon:
		go w.play(ctx, from, timeout, false, true)
	default:
		go w.play(ctx, from, timeout, false, false)
	}
	return w, nil
}

func (c *modelClient) List(metav1.ListOptions) (runtime.Object, error) {
	return nil, errors.New("List")
}
func (c *modelClient) Watch(metav1.ListOptions) (watch.Interface, error) {
	return nil, errors.New("Watch")
}

type modelWatch struct {
	c      *modelClient
	events chan watch.Event
	done   chan struct{}
	once   sync.Once
}

func (w *modelWatch) ResultChan() <-chan watch.Event { return w.events }
func (w *modelWatch) Stop()                          { w.once.Do(func() { close(w.done) }) }

func (w *modelWatch) send(kind watch.EventType, obj runtime.Object) bool {
	select {
	case w.events <- watch.Event{Type: kind, Object: obj}:
		return true
	case <-w.done:
		return false
	}
}

func (w *modelWatch) status(name string) {
	status := parseError([]string{name}).(apierrors.APIStatus).Status()
	w.send(watch.Error, &status)
}

func (w *modelWatch) play(ctx context.Context, from int64, timeout time.Duration, initial, expired bool) {
	defer close(w.events)
	c := w.c
	if expired {
		w.status("410")
		return
	}
	end := time.After(timeout)
	marked := !initial
	if initial {
		content := c.m.at(from)
		for name, is := range content { // in no order
			uid, v, _ := strings.Cut(is, "@")
			obj := modelObject(name, uid, parseVersion(v))
			if !w.send(watch.Added, &obj) {
				return
			}
			if c.chance(40) {
				return
			}
		}
		if c.chance(3) {
			// The end comes later, after some changes.
			select {
			case <-time.After(time.Duration(c.roll(9)) * time.Second):
			case <-w.done:
				return
			}
		}
	}
	bookmark := func() bool {
		obj := metav1.PartialObjectMetadata{}
		obj.ResourceVersion = strconv.FormatInt(from, 10)
		if !marked {
			obj.Annotations = map[string]string{metav1.InitialEventsAnnotationKey: "true"}
			marked = true
		}
		return w.send(watch.Bookmark, &obj)
	}
	for {
		c.m.mu.Lock()
		i, _ := slices.BinarySearchFunc(c.m.events, from+1, func(e modelEvent, v int64) int { return int(e.version - v) })
		news, changed, newest := slices.Clone(c.m.events[i:]), c.m.changed, c.m.version
		c.m.mu.Unlock()
		for _, e := range news {
			obj := modelObject(e.name, e.uid, e.version)
			if !w.send(e.kind, &obj) {
				return
			}
			from = e.version
			switch {
			case c.chance(30):
				return
			case c.chance(60):
				w.status("500")
				return
			case c.chance(60):
				w.status("410")
				return
			case c.chance(100):
				// A dead connection: the kernel gives it up some day.
				select {
				case <-w.done:
				case <-time.After(20 * time.Minute):
				}
				return
			}
		}
		if !marked || c.chance(4) {
			from = newest
			if len(news) > 0 {
				from = news[len(news)-1].version
			}
			if !bookmark() {
				return
			}
		}
		select {
		case <-changed:
		case <-time.After(time.Minute):
			if !bookmark() {
				return
			}
		case <-end:
			return
		case <-ctx.Done():
			return
		case <-w.done:
			return
		}
	}
}
