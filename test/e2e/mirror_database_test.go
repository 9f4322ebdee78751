// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package e2e

import (
	"context"
	"errors"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/apiary-go/apiary/informer"
	"github.com/apiary-go/apiary/informer/mirror"
	"github.com/apiary-go/apiary/store"
)

// database is a handler that writes the key, the UID and the version of each
// object to a table in memory. As a real one it outlives the informers that write
// to it, takes the resume version into the transaction of each row, may be slow,
// and may fail before it has written or after.
//
// It keeps a record of all that it is told; violations judges that.
type database struct {
	// before is called before anything is written, with no lock held. If it
	// fails nothing is written. Optional.
	before func(ctx context.Context, c call) error

	// get asks the server which object has the key, whenever one is said to be
	// deleted. Optional.
	get func(ctx context.Context, key store.Key) (types.UID, error)

	// dawdles is how long it may take longer than others to settle.
	dawdles time.Duration

	mu       sync.Mutex
	rng      *rand.Rand // fail and dawdle at random; nil: do not
	rows     map[store.Key]store.Meta
	resume   string
	record   []entry
	informer *mirror.ResourceVersionInformer[metav1.Object]
}

// call is one call of the handler. The kind is add, update, delete or sync.
type call struct {
	kind    string
	meta    store.Meta
	object  store.Meta // of the object itself; of a deletion, if known
	old     store.Meta // of an update
	initial bool
	alive   types.UID // of a deletion: what the server had under the key at the time
	pending int       // how much was pending at the time
	err     error
}

// entry is something that happened: a call began or ended, or, if there is none, an
// informer was started with what the database had.
type entry struct {
	call  *call
	ended bool

	rows   map[store.Key]store.Meta
	resume string
	limit  int // of what may be pending
}

func newDatabase(server clients, ns string) *database {
	return &database{
		rows: map[store.Key]store.Meta{},
		get: func(ctx context.Context, key store.Key) (types.UID, error) {
			cm, err := server.kube.CoreV1().ConfigMaps(ns).Get(ctx, key.Name, metav1.GetOptions{})
			if err != nil {
				return "", err
			}
			return cm.UID, nil
		},
	}
}

func (d *database) OnAdd(ctx context.Context, obj informer.Object[metav1.Object]) error {
	return d.call(ctx, &call{kind: "add", meta: obj.Meta, object: store.MetaOf(obj.Object), initial: obj.IsInInitialList})
}

func (d *database) OnUpdate(ctx context.Context, old store.Meta, obj informer.Object[metav1.Object]) error {
	return d.call(ctx, &call{kind: "update", meta: obj.Meta, object: store.MetaOf(obj.Object), old: old, initial: obj.IsInInitialList})
}

func (d *database) OnSync(ctx context.Context, obj informer.Object[metav1.Object]) error {
	return d.call(ctx, &call{kind: "sync", meta: obj.Meta, object: store.MetaOf(obj.Object), initial: obj.IsInInitialList})
}

func (d *database) OnDelete(ctx context.Context, gone mirror.Deletion[metav1.Object]) error {
	c := &call{kind: "delete", meta: gone.Meta, initial: gone.IsInInitialList}
	if gone.Known {
		c.object = store.MetaOf(gone.Object)
	}
	if d.get != nil {
		if uid, err := d.get(ctx, gone.Key); err == nil { // one that does not answer says nothing
			c.alive = uid
		}
	}
	return d.call(ctx, c)
}

func (d *database) UpdateResourceVersion(context.Context, string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.resume = d.informer.ResumeVersion() // what was handed over may be older than the last row
	return nil
}

var (
	errRefused = errors.New("the database refuses")
	errLost    = errors.New("the answer of the database was lost")
)

// call records a call around its transaction.
func (d *database) call(ctx context.Context, c *call) error {
	d.mu.Lock()
	c.pending = d.informer.Stats().Pending
	d.record = append(d.record, entry{call: c})
	begun := *c
	d.mu.Unlock()
	err := d.write(ctx, begun)
	d.mu.Lock()
	defer d.mu.Unlock()
	c.err = err
	d.record = append(d.record, entry{call: c, ended: true})
	return err
}

// write is the transaction of a call.
func (d *database) write(ctx context.Context, c call) error {
	if d.before != nil {
		if err := d.before(ctx, c); err != nil {
			return err
		}
	}
	refuse, lose := d.chance(ctx)
	if refuse {
		return errRefused
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if c.kind == "delete" {
		delete(d.rows, c.meta.Key)
	} else {
		d.rows[c.meta.Key] = c.meta
	}
	d.resume = d.informer.ResumeVersion()
	if lose {
		return errLost
	}
	return nil
}

// chance dawdles, and says what goes wrong.
func (d *database) chance(ctx context.Context) (refuse, lose bool) {
	d.mu.Lock()
	if d.rng == nil {
		d.mu.Unlock()
		return false, false
	}
	pause := time.Duration(d.rng.IntN(20)) * time.Millisecond
	refuse, lose = d.rng.IntN(8) == 0, d.rng.IntN(12) == 0
	d.mu.Unlock()
	select {
	case <-time.After(pause):
	case <-ctx.Done():
	}
	return refuse, lose
}

// calm ends what goes wrong at random.
func (d *database) calm() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.rng = nil
}

// table returns a copy of the rows.
func (d *database) table() map[store.Key]store.Meta {
	d.mu.Lock()
	defer d.mu.Unlock()
	return maps.Clone(d.rows)
}

func (d *database) saved() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.resume
}

// seed gives the table rows that no informer wrote.
func (d *database) seed(rows ...store.Meta) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, row := range rows {
		d.rows[row.Key] = row
	}
}

// length is how much was recorded so far.
func (d *database) length() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.record)
}

// calls returns the calls from there on that were acknowledged, in the order of
// that.
func (d *database) calls(from int) []call {
	d.mu.Lock()
	defer d.mu.Unlock()
	var done []call
	for _, e := range d.record[from:] {
		if e.ended && e.call.err == nil {
			done = append(done, *e.call)
		}
	}
	return done
}

// names returns the calls as "add a", sorted.
func names(calls []call) []string {
	list := []string{}
	for _, c := range calls {
		list = append(list, c.kind+" "+c.meta.Key.Name)
	}
	slices.Sort(list)
	return list
}
