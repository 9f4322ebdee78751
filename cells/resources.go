// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package cells

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/apiary-go/apiary/informer"
	"github.com/apiary-go/apiary/informer/mirror"
	"github.com/apiary-go/apiary/informer/push"
	"github.com/apiary-go/apiary/informer/record"
	"github.com/apiary-go/apiary/resource"
	"github.com/apiary-go/apiary/store"
)

// Resources shows everything that a hive follows: the resources, mirrors and pushes of this
// package, and the scopes of [Status]: what its engine reads at the moment. It is for all
// clusters. [Client], [ClientFrom] and [FakeClient] provide it, and [Clusters] has it:
//
//	cell.Invoke(func(all *cells.Resources) {
//		for _, f := range all.All() {
//			fmt.Println(f.Name, f.Level, f.Status)
//		}
//	})
//
// A resource is there from its construction to Stop, a scope while the engine reads it. All methods can be called from any
// goroutine, and make no request.
type Resources struct {
	mu   sync.Mutex
	list []*followed // replaced, not modified
}

// FollowedKind is what a [Followed] is.
type FollowedKind string

const (
	FollowedResource FollowedKind = "resource"
	FollowedMirror   FollowedKind = "mirror"
	FollowedPush     FollowedKind = "push"
	FollowedStatus   FollowedKind = "status" // a scope of a status engine
)

// Level is how well something is followed.
type Level string

const (
	LevelUnused   Level = "unused"   // nobody has asked for it, or StopUnused has stopped it
	LevelStarting Level = "starting" // the first list is under way, and nothing has failed
	LevelOK       Level = "ok"
	LevelDegraded Level = "degraded"
	LevelStopped  Level = "stopped" // with the hive, or the client is disabled
)

// Followed describes one resource, mirror, push or scope at one moment. It has no content
// of objects, only keys.
type Followed struct {
	// Name is the name in logs, health and metrics. Scope is what is selected, such as
	// "Pod.v1 in namespace shop". Cluster is the name that [OfCluster] selects, with which
	// Name begins, such as "west" for "west/Pod.v1".
	Name    string
	Kind    FollowedKind
	Scope   string
	Cluster string

	// Level, Status and Err are what health shows: "synced, 11 objects at the last list",
	// "cannot list: forbidden". Since is when the Level began.
	Level  Level
	Status string
	Err    error
	Since  time.Time

	// Synced is true after the first complete list, also while it fails later.
	Synced bool

	// Objects is the number of objects in the store, recorded by the mirror, or accepted by
	// the consumer.
	Objects int

	// Bytes is the estimated memory of the objects in the store of a resource or scope. What objects
	// have in common counts once. It is 0 for mirrors and pushes, which keep no objects.
	Bytes int64

	// Reflector is the state of the informer: state, cause, last contact, version.
	Reflector informer.ReflectorInfo

	// Namespaces has the informers of a resource in a set of namespaces, sorted by namespace.
	// Reflector combines them. It is nil for others.
	Namespaces []informer.ReflectorInfo

	// Lists counts the lists that ended.
	Lists []ListCount

	// Subscribers are those of a resource. Mirror and Push are nil for others.
	Subscribers []resource.SubscriberStats
	Mirror      *mirror.InformerStats
	Push        *push.BatcherStats

	// Recording is the path of the file that it is recorded to. It is empty if it is not.
	Recording string

	// Recent is what the observer got last, the newest at the end: the last 20 events of debug
	// level, and the last 50 others. Pages of lists, and failures of consumers that are
	// thinned in logs, are left out.
	Recent []RecentEvent
}

// ListCount counts lists. All with a Reason other than [store.ReasonFirst] are relists.
type ListCount struct {
	Reason   store.Reason
	Streamed bool
	Result   string // "done", "failed", or "differs" if whole objects were read after it
	Count    uint64
}

// RecentEvent is an event of the observer, as [informer.LogObserver] writes it.
type RecentEvent struct {
	Time  time.Time
	Level string // of the log line: "WARN"
	Text  string
}

// All returns what the hive follows, in the order of construction, and the scopes of status
// engines after the rest, by name.
func (r *Resources) All() (all []Followed) {
	var scopes []Followed
	for _, f := range r.followed() {
		if f.kind == FollowedStatus {
			scopes = append(scopes, f.describe())
		} else {
			all = append(all, f.describe())
		}
	}
	slices.SortFunc(scopes, func(a, b Followed) int { return cmp.Compare(a.Name, b.Name) })
	return append(all, scopes...)
}

// Get returns what has this name.
func (r *Resources) Get(name string) (Followed, error) {
	f, err := r.find(name)
	if err != nil {
		return Followed{}, err
	}
	return f.describe(), nil
}

// followed is a resource, a mirror, a push or a scope. At most one of its functions is not
// nil: all are nil if the client is disabled.
type followed struct {
	name    string
	kind    FollowedKind
	cluster string
	scope   string
	gvk     schema.GroupVersionKind // of objects of a Go type
	// secret is true if the objects are Secrets.
	secret bool

	resource func() resource.Stats // also of a scope
	mirror   func() mirror.InformerStats
	push     func() push.BatcherStats

	// access is for resources only. resync and synced are nil if the client is
	// disabled.
	access *access
	resync func(reason error)
	synced func(ctx context.Context) error // blocks until it is synced

	counters *counters
	report   *reporter
	recent   *recorder

	recording  record.Switch
	recordOpts []record.Option // of Record
	recordLog  *slog.Logger
	unrecorded error // why it must not be recorded
}

// find returns what has this name.
func (r *Resources) find(name string) (*followed, error) {
	var names []string
	for _, f := range r.followed() {
		if f.name == name {
			return f, nil
		}
		names = append(names, f.name)
	}
	return nil, fmt.Errorf("there is no resource %q: want one of %q", name, names)
}

func (r *Resources) followed() []*followed {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.list
}

// add lists f. If its name exists, it gets a number.
func (r *Resources) add(f *followed) {
	r.mu.Lock()
	defer r.mu.Unlock()
	name := f.name
	for n := 2; slices.ContainsFunc(r.list, func(other *followed) bool { return other.name == f.name }); n++ {
		f.name = fmt.Sprintf("%s#%d", name, n)
	}
	r.list = append(slices.Clip(r.list), f)
}

func (r *Resources) remove(f *followed) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.list = slices.DeleteFunc(slices.Clone(r.list), func(other *followed) bool { return other == f })
}

// running returns what metrics are collected of. Scopes come and go, and their names would be
// too many values of a label.
func (r *Resources) running() (list []*followed) {
	for _, f := range r.followed() {
		if f.kind != FollowedStatus && (f.resource != nil || f.mirror != nil || f.push != nil) {
			list = append(list, f)
		}
	}
	return list
}

// selects returns the scope, unless the name shows it.
func (f Followed) selects() string {
	if f.Name == qualified(f.Cluster, f.Scope) {
		return ""
	}
	return f.Scope
}

func (f *followed) describe() Followed {
	d := Followed{Name: f.name, Kind: f.kind, Scope: f.scope, Cluster: f.cluster, Lists: f.counters.listCounts(), Recent: f.recent.recent(), Recording: f.recording.Path()}
	is := f.report.current()
	d.Level, d.Status, d.Err, d.Since = is.level, is.status, is.err, is.since
	switch {
	case f.resource != nil:
		s := f.resource()
		d.Synced, d.Objects, d.Reflector, d.Subscribers = s.Synced, s.Store.Objects, s.Reflector, s.Subscribers
		d.Bytes, d.Namespaces = s.Bytes, s.Namespaces
	case f.mirror != nil:
		s := f.mirror()
		d.Synced, d.Objects, d.Reflector, d.Mirror = s.Synced, s.Recorded, s.Reflector, &s
	case f.push != nil:
		s := f.push()
		d.Synced, d.Objects, d.Reflector, d.Push = s.Synced, s.Accepted, s.Reflector, &s
	}
	return d
}
