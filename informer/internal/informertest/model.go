// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package informertest

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

	"github.com/apiary-go/apiary/store"
)

// State is a collection: "uid@version" by name.
type State map[string]string

// Model is an API server for one collection that remembers all of its history,
// but gives out only what is newer than its horizon.
type Model struct {
	Mu      sync.Mutex
	version int64
	horizon int64
	Events  []modelEvent // ascending
	states  map[int64]State
	changed chan struct{}
}

type modelEvent struct {
	Kind    watch.EventType
	Version int64
	Name    string
	UID     string
}

// NewModel returns a Model without objects.
func NewModel() *Model {
	return &Model{version: 1, states: map[int64]State{1: {}}, changed: make(chan struct{})}
}

// Mutate creates, updates, deletes or recreates an object at random.
func (m *Model) Mutate(rng *rand.Rand) {
	m.Mu.Lock()
	defer m.Mu.Unlock()
	next := maps.Clone(m.states[m.version])
	name := string(rune('a' + rng.IntN(12)))
	e := modelEvent{Version: m.version + 1 + rng.Int64N(2), Name: name}
	old, exists := next[name]
	switch {
	case !exists:
		e.Kind, e.UID = watch.Added, "u"+strconv.FormatInt(e.Version, 10)
	case rng.IntN(3) == 0:
		e.Kind, e.UID = watch.Deleted, old[:strings.Index(old, "@")]
	default:
		e.Kind, e.UID = watch.Modified, old[:strings.Index(old, "@")]
	}
	if e.Kind == watch.Deleted {
		delete(next, name)
	} else {
		next[name] = fmt.Sprintf("%s@%d", e.UID, e.Version)
	}
	for v := m.version + 1; v < e.Version; v++ {
		m.states[v] = m.states[m.version]
	}
	m.version, m.states[e.Version] = e.Version, next
	m.Events = append(m.Events, e)
	close(m.changed)
	m.changed = make(chan struct{})
}

// Compact forgets the history up to now.
func (m *Model) Compact() {
	m.Mu.Lock()
	defer m.Mu.Unlock()
	m.horizon = m.version
}

// At returns the state at a version, Now the newest with its version.
func (m *Model) At(version int64) State {
	m.Mu.Lock()
	defer m.Mu.Unlock()
	return m.states[version]
}

func (m *Model) Now() (int64, State) {
	m.Mu.Lock()
	defer m.Mu.Unlock()
	return m.version, m.states[m.version]
}

// ModelObject returns the object of a name, a UID and a version.
func ModelObject(name, uid string, version int64) metav1.PartialObjectMetadata {
	return metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{
		Name: name, UID: types.UID(uid), ResourceVersion: strconv.FormatInt(version, 10),
	}}
}

// ParseVersion returns the number of a version; 0 if there is none.
func ParseVersion(s string) int64 {
	if s == "" || s == "0" {
		return 0
	}
	return Number(s)
}

// ModelClient reads a model over a bad network, as long as there is chaos.
type ModelClient struct {
	M       *Model
	mu      sync.Mutex
	Rng     *rand.Rand
	Chaos   bool
	Streams bool // WatchList is served

	Unlimited []string // list requests that had no limit
}

func (c *ModelClient) IsWatchListSemanticsUnSupported() bool { return false }

// chance is true once in n times while there is chaos.
func (c *ModelClient) chance(n int) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.Chaos && c.Rng.IntN(n) == 0
}

func (c *ModelClient) roll(n int) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.Rng.IntN(n)
}

func (c *ModelClient) Calm() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.Chaos = false
}

func (c *ModelClient) fault(ctx context.Context) error {
	if !c.chance(5) {
		return nil
	}
	kinds := []string{"refused", "reset", "500", "429", "410", "toolarge"}
	if i := c.roll(len(kinds) + 1); i < len(kinds) {
		return ParseError([]string{kinds[i]})
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(time.Duration(c.roll(400)) * time.Second):
		return ParseError([]string{"reset"})
	}
}

// serves returns the version of the state that a request for one not older than
// from is answered with: the newest, or that of a server which lags behind.
func (c *ModelClient) serves(from int64) int64 {
	version, _ := c.M.Now()
	if from > 0 && from < version && c.chance(2) {
		return from + int64(c.roll(int(version-from)))
	}
	return version
}

func (c *ModelClient) ListWithContext(ctx context.Context, opts metav1.ListOptions) (runtime.Object, error) {
	if opts.Limit == 0 {
		c.mu.Lock()
		c.Unlimited = append(c.Unlimited, describe(opts))
		c.mu.Unlock()
	}
	if err := c.fault(ctx); err != nil {
		return nil, err
	}
	version, _ := c.M.Now()
	var content State
	after := ""
	if opts.Continue != "" {
		v, name, _ := strings.Cut(opts.Continue, "/")
		version, after = ParseVersion(v), name
		c.M.Mu.Lock()
		expired := version < c.M.horizon
		content = c.M.states[version]
		c.M.Mu.Unlock()
		if expired {
			return nil, apierrors.NewResourceExpired("continue token too old")
		}
	} else if from := ParseVersion(opts.ResourceVersion); from > version {
		return nil, ParseError([]string{"toolarge"})
	} else {
		version = c.serves(from)
		content = c.M.At(version)
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
		list.Items = append(list.Items, ModelObject(name, uid, ParseVersion(v)))
	}
	return list, nil
}

func (c *ModelClient) WatchWithContext(ctx context.Context, opts metav1.ListOptions) (watch.Interface, error) {
	if opts.SendInitialEvents != nil && !c.Streams {
		return nil, ParseError([]string{"422"})
	}
	if err := c.fault(ctx); err != nil {
		return nil, err
	}
	from := ParseVersion(opts.ResourceVersion)
	version, _ := c.M.Now()
	c.M.Mu.Lock()
	horizon := c.M.horizon
	c.M.Mu.Unlock()
	w := &modelWatch{c: c, events: make(chan watch.Event), done: make(chan struct{})}
	timeout := time.Duration(*opts.TimeoutSeconds) * time.Second
	switch {
	case opts.SendInitialEvents != nil:
		if from > version {
			return nil, ParseError([]string{"toolarge"})
		}
		go w.play(ctx, c.serves(from), timeout, true, false)
	case from < horizon:
		go w.play(ctx, from, timeout, false, true)
	default:
		go w.play(ctx, from, timeout, false, false)
	}
	return w, nil
}

func (c *ModelClient) List(metav1.ListOptions) (runtime.Object, error) {
	return nil, errors.New("List")
}
func (c *ModelClient) Watch(metav1.ListOptions) (watch.Interface, error) {
	return nil, errors.New("Watch")
}

type modelWatch struct {
	c      *ModelClient
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
	status := ParseError([]string{name}).(apierrors.APIStatus).Status()
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
		content := c.M.At(from)
		for name, is := range content { // in no order
			uid, v, _ := strings.Cut(is, "@")
			obj := ModelObject(name, uid, ParseVersion(v))
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
		c.M.Mu.Lock()
		i, _ := slices.BinarySearchFunc(c.M.Events, from+1, func(e modelEvent, v int64) int { return int(e.Version - v) })
		news, changed, newest := slices.Clone(c.M.Events[i:]), c.M.changed, c.M.version
		c.M.Mu.Unlock()
		for _, e := range news {
			obj := ModelObject(e.Name, e.UID, e.Version)
			if !w.send(e.Kind, &obj) {
				return
			}
			from = e.Version
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
				from = news[len(news)-1].Version
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

// DeletedAfter reports whether name was deleted after version.
func (m *Model) DeletedAfter(name string, version int64) bool {
	m.Mu.Lock()
	defer m.Mu.Unlock()
	for _, e := range m.Events {
		if e.Version > version && e.Name == name && e.Kind == "DELETED" {
			return true
		}
	}
	return false
}

// Was reports whether the object was ever in this state.
func (m *Model) Was(meta store.Meta) bool {
	m.Mu.Lock()
	defer m.Mu.Unlock()
	for _, e := range m.Events {
		if e.Name == meta.Key.Name && e.UID == string(meta.UID) && strconv.FormatInt(e.Version, 10) == meta.Version && e.Kind != "DELETED" {
			return true
		}
	}
	return false
}
