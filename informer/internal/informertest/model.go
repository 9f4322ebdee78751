// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package informertest

import (
	"context"
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
	"k8s.io/client-go/tools/cache"

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

// ModelName returns the name of one of the objects that come and go.
func ModelName(rng *rand.Rand) string { return string(rune('a' + rng.IntN(12))) }

// Mutate creates, updates, deletes or recreates an object at random.
func (m *Model) Mutate(rng *rand.Rand) {
	m.Mu.Lock()
	defer m.Mu.Unlock()
	next := maps.Clone(m.states[m.version])
	name := ModelName(rng)
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

func (s State) object(name string) metav1.PartialObjectMetadata {
	uid, version, _ := strings.Cut(s[name], "@")
	return ModelObject(name, uid, ParseVersion(version))
}

// ParseVersion returns the number of a version; 0 if there is none.
func ParseVersion(s string) int64 {
	if s == "" || s == "0" {
		return 0
	}
	return Number(s)
}

// ModelClient reads a model over a bad network, as long as there is chaos. Unlike fakeapi,
// it shows old states too, as servers that lag behind and a restored server do.
type ModelClient struct {
	cache.ListerWatcher // nil: its methods are not called
	M                   *Model
	mu                  sync.Mutex
	Rng                 *rand.Rand
	Chaos               bool
	Streams             bool // WatchList is served
	Drops               int  // of so many events, watches leave out one; 0: of none

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
		list.Items = append(list.Items, content.object(name))
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
	w := &modelWatch{playedWatch: newPlayedWatch(), c: c, from: from, marked: opts.SendInitialEvents == nil}
	timeout := time.Duration(*opts.TimeoutSeconds) * time.Second
	switch {
	case w.marked && from < horizon:
		go w.expire()
		return w, nil
	case !w.marked && from > version:
		return nil, ParseError([]string{"toolarge"})
	case !w.marked:
		w.from = c.serves(from)
	}
	go w.play(ctx, timeout)
	return w, nil
}

// modelWatch is a watch of a model, over a bad network.
type modelWatch struct {
	*playedWatch
	c      *ModelClient
	from   int64 // what was sent, or need not be
	marked bool  // the end of the initial events was sent, or there are none
}

func (w *modelWatch) status(name string) {
	status := ParseError([]string{name}).(apierrors.APIStatus).Status()
	w.send(watch.Error, &status)
}

func (w *modelWatch) expire() {
	defer close(w.events)
	w.status("410")
}

func (w *modelWatch) play(ctx context.Context, timeout time.Duration) {
	defer close(w.events)
	end := time.After(timeout)
	if !w.marked && !w.sendInitial() {
		return
	}
	for {
		news, changed, newest := w.c.M.since(w.from)
		if !w.sendNews(news) {
			return
		}
		if !w.marked || w.c.chance(4) {
			if len(news) == 0 {
				w.from = newest
			}
			if !w.bookmark() {
				return
			}
		}
		select {
		case <-changed:
		case <-time.After(time.Minute):
			if !w.bookmark() {
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

// since returns what happened after a version, a channel that is closed when more does,
// and the newest version.
func (m *Model) since(version int64) ([]modelEvent, <-chan struct{}, int64) {
	m.Mu.Lock()
	defer m.Mu.Unlock()
	i, _ := slices.BinarySearchFunc(m.Events, version+1, func(e modelEvent, v int64) int { return int(e.Version - v) })
	return slices.Clone(m.Events[i:]), m.changed, m.version
}

// sendInitial sends the objects that there are. It returns false if the watch ends.
func (w *modelWatch) sendInitial() bool {
	content := w.c.M.At(w.from)
	for name := range content { // in no order
		obj := content.object(name)
		if !w.send(watch.Added, &obj) || w.c.chance(40) {
			return false
		}
	}
	// The end comes later now and then, after some changes.
	return !w.c.chance(3) || w.wait(time.Duration(w.c.roll(9))*time.Second)
}

// sendNews sends what happened. It returns false if the watch ends.
func (w *modelWatch) sendNews(news []modelEvent) bool {
	for _, e := range news {
		if w.c.Drops > 0 && w.c.roll(w.c.Drops) == 0 {
			w.from = e.Version
			continue
		}
		obj := ModelObject(e.Name, e.UID, e.Version)
		if !w.send(e.Kind, &obj) {
			return false
		}
		w.from = e.Version
		switch c := w.c; {
		case c.chance(30):
			return false
		case c.chance(60):
			w.status("500")
			return false
		case c.chance(60):
			w.status("410")
			return false
		case c.chance(100):
			w.wait(20 * time.Minute) // a dead connection: the kernel gives it up some day
			return false
		}
	}
	return true
}

func (w *modelWatch) bookmark() bool {
	obj := metav1.PartialObjectMetadata{}
	obj.ResourceVersion = strconv.FormatInt(w.from, 10)
	if !w.marked {
		obj.Annotations = map[string]string{metav1.InitialEventsAnnotationKey: "true"}
		w.marked = true
	}
	return w.send(watch.Bookmark, &obj)
}

// DeletedAfter reports whether name was deleted after version.
func (m *Model) DeletedAfter(name string, version int64) bool {
	m.Mu.Lock()
	defer m.Mu.Unlock()
	return slices.ContainsFunc(m.Events, func(e modelEvent) bool {
		return e.Version > version && e.Name == name && e.Kind == watch.Deleted
	})
}

// Was reports whether the object was ever in this state.
func (m *Model) Was(meta store.Meta) bool {
	m.Mu.Lock()
	defer m.Mu.Unlock()
	return slices.ContainsFunc(m.Events, func(e modelEvent) bool {
		return e.Name == meta.Key.Name && e.UID == string(meta.UID) && strconv.FormatInt(e.Version, 10) == meta.Version && e.Kind != watch.Deleted
	})
}
