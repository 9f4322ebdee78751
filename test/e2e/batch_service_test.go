// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package e2e

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"

	"github.com/apiary-go/apiary/informer"
	"github.com/apiary-go/apiary/informer/push"
	"github.com/apiary-go/apiary/store"
)

// statement is what a metadata service is told by one call. Seq counts the calls, so
// that the service can tell one that was overtaken by a later one.
type statement struct {
	Call  string // begin, page, end, abort or batch
	Seq   uint64
	Epoch uint64
	Rows  []metadata
}

// metadata is an object as a metadata service knows it. Kind is that of a change,
// empty in a page.
type metadata struct {
	store.Meta
	Kind string
	Old  store.Meta
}

// errUnknown is the answer of a service to what it cannot follow: it wants a snapshot.
var errUnknown = errors.New("the service does not know of that epoch")

// service is a metadata service, a table with a row for each object. What it forgets
// when it is restarted is apart from what the test remembers, over all restarts.
type service struct {
	t *testing.T
	w world

	// before is called before a statement is applied, with no lock held. If it
	// fails nothing is applied. Optional.
	before func(ctx context.Context, s statement) error

	mu    sync.Mutex
	rows  map[store.Key]store.Meta
	stage map[store.Key]store.Meta // nil outside of a snapshot
	began uint64                   // epoch of the snapshot that began last
	epoch uint64                   // of the last one that ended; 0: it knows nothing
	seq   uint64

	newest  map[store.Key]string // version that was accepted
	deleted map[types.UID]store.Meta
	counts  map[string]int
}

func newService(w world) *service {
	return &service{
		t: w.t, w: w, rows: map[store.Key]store.Meta{},
		newest: map[store.Key]string{}, deleted: map[types.UID]store.Meta{}, counts: map[string]int{},
	}
}

// restart empties it.
func (s *service) restart() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rows, s.stage, s.began, s.epoch, s.seq = map[store.Key]store.Meta{}, nil, 0, 0, 0
	s.counts["restarted"]++
}

// take applies a statement as a whole, or refuses it.
func (s *service) take(ctx context.Context, st statement) error {
	if s.before != nil {
		if err := s.before(ctx, st); err != nil {
			return err
		}
	}
	alive := s.alive(ctx, st)
	s.mu.Lock()
	defer s.mu.Unlock()
	if st.Seq < s.seq || ctx.Err() != nil {
		return errors.New("nobody waits for that any more")
	}
	s.seq = st.Seq
	switch st.Call {
	case "begin":
		s.stage, s.began = map[store.Key]store.Meta{}, st.Epoch
	case "abort":
		s.stage = nil
	case "page", "end":
		if s.stage == nil || s.began != st.Epoch {
			return errUnknown
		}
		for _, row := range st.Rows {
			s.accept(st, row)
			s.stage[row.Key] = row.Meta
		}
		if st.Call == "end" {
			for key, row := range s.rows {
				if s.stage[key].UID != row.UID {
					s.remove(st, row, alive)
				}
			}
			s.rows, s.stage, s.epoch = s.stage, nil, st.Epoch
		}
	case "batch":
		if s.epoch == 0 {
			return errUnknown
		}
		if s.stage != nil || s.epoch != st.Epoch {
			s.t.Errorf("a batch of epoch %d, the service is at %d, in a snapshot: %v", st.Epoch, s.epoch, s.stage != nil)
		}
		s.batch(st, alive)
	}
	s.counts[st.Call]++
	return nil
}

// batch applies the changes of a batch.
func (s *service) batch(st statement, alive map[types.UID]bool) {
	told := map[store.Key]bool{}
	for _, c := range st.Rows {
		s.counts["change"]++
		s.counts[c.Kind]++
		if told[c.Key] {
			s.t.Errorf("%v is twice in a batch", c.Key)
		}
		told[c.Key] = true
		is, has := s.rows[c.Key]
		switch c.Kind {
		case "deleted":
			if has {
				s.remove(st, is, alive)
			}
			s.remove(st, c.Meta, alive)
			delete(s.rows, c.Key)
			continue
		case "replaced":
			s.remove(st, c.Old, alive)
		default:
			// It may have this very state, if an answer was lost. Of another
			// object a service that goes by UID would never be rid.
			if has && is.UID != c.UID {
				s.t.Errorf("%s %v (%s), the service has %s", c.Kind, c.Meta, c.UID, is.UID)
			}
		}
		s.accept(st, c)
		s.rows[c.Key] = c.Meta
	}
}

// accept checks that a row is not older than what was accepted, and not gone.
func (s *service) accept(st statement, row metadata) {
	newest := s.newest[row.Key]
	if order, ok := store.CompareVersions(row.Version, newest); newest != "" && (!ok || order < 0) {
		s.t.Errorf("%s %d: %s %v, version %s was accepted before", st.Call, st.Seq, row.Kind, row.Meta, newest)
	}
	if was, ok := s.deleted[row.UID]; ok {
		s.t.Errorf("%s %d: %s %v, it was deleted as %v", st.Call, st.Seq, row.Kind, row.Meta, was)
	}
	s.newest[row.Key] = row.Version
}

// remove checks that an object is gone from the server.
func (s *service) remove(st statement, row store.Meta, alive map[types.UID]bool) {
	if alive[row.UID] {
		s.t.Errorf("%s %d: deletes %v (%s), the server has it", st.Call, st.Seq, row, row.UID)
	}
	s.deleted[row.UID] = row
}

// alive asks the server what it has, if a statement says that something is deleted. A
// server that does not answer says nothing.
func (s *service) alive(ctx context.Context, st statement) map[types.UID]bool {
	says := st.Call == "end"
	for _, row := range st.Rows {
		says = says || row.Kind == "deleted" || row.Kind == "replaced"
	}
	if !says {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, 400*time.Millisecond)
	defer cancel()
	list, err := s.w.kube.CoreV1().ConfigMaps(s.w.ns).List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil
	}
	alive := map[types.UID]bool{}
	for i := range list.Items {
		alive[list.Items[i].UID] = true
	}
	return alive
}

// table returns a copy of the rows.
func (s *service) table() map[store.Key]store.Meta {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.rows)
}

// figures returns a copy of what was counted.
func (s *service) figures() map[string]int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.counts)
}

// pusher is a BatchConsumer that sends statements to a service.
type pusher struct {
	send        func(ctx context.Context, st statement) error
	maxFailures int // of the Batcher

	mu      sync.Mutex
	seq     uint64
	refused int // calls of snapshots that failed: each costs the snapshot
	givenUp map[string]int
}

func (p *pusher) push(ctx context.Context, call string, epoch uint64, rows []metadata) error {
	p.mu.Lock()
	p.seq++
	st := statement{Call: call, Seq: p.seq, Epoch: epoch, Rows: rows}
	p.mu.Unlock()
	err := p.send(ctx, st)
	if errors.Is(err, errUnknown) {
		return fmt.Errorf("%w: %w", store.ErrResync, err)
	}
	return err
}

func (p *pusher) snapshot(ctx context.Context, call string, epoch uint64, rows []metadata) error {
	err := p.push(ctx, call, epoch, rows)
	if err != nil {
		p.mu.Lock()
		p.refused++
		p.mu.Unlock()
	}
	return err
}

func (p *pusher) BeginSnapshot(ctx context.Context, s push.SnapshotInfo) error {
	return p.snapshot(ctx, "begin", s.Epoch, nil)
}

func (p *pusher) SnapshotPage(ctx context.Context, s push.SnapshotInfo, page []informer.Object[metav1.Object]) error {
	var rows []metadata
	for _, obj := range page {
		rows = append(rows, metadata{Meta: obj.Meta})
	}
	return p.snapshot(ctx, "page", s.Epoch, rows)
}

func (p *pusher) EndSnapshot(ctx context.Context, s push.SnapshotInfo) error {
	return p.snapshot(ctx, "end", s.Epoch, nil)
}

func (p *pusher) AbortSnapshot(s push.SnapshotInfo, _ error) {
	// If it is not heard of, the next beginning says the same.
	_ = p.push(context.Background(), "abort", s.Epoch, nil)
}

func (p *pusher) OnBatch(ctx context.Context, batch push.Batch[metav1.Object]) error {
	var rows []metadata
	for _, c := range batch.Changes {
		rows = append(rows, metadata{Meta: c.Meta, Kind: c.Kind.String(), Old: c.Old})
	}
	err := p.push(ctx, "batch", batch.Epoch, rows)
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case err == nil || ctx.Err() != nil:
	case errors.Is(err, store.ErrResync):
		p.givenUp["asked for a snapshot"]++
	case batch.Failures+1 >= p.maxFailures:
		p.givenUp["failed too often"]++
	}
	return err
}

// pushed is a Batcher that is running.
type pushed struct {
	*push.Batcher[metav1.Object]
	*pusher
	seen occurrences
	stop func() error // cancels, and returns what Run returns
}

// runPush starts a Batcher that tells send. It is stopped at the end of the test.
func runPush(t *testing.T, cfg push.BatcherConfig[metav1.Object], send func(ctx context.Context, st statement) error) *pushed {
	t.Helper()
	m := &cfg.Merger
	p := &pushed{pusher: &pusher{send: send, maxFailures: m.MaxFailures, givenUp: map[string]int{}}}
	cfg.Consumer, cfg.Observer = p.pusher, &p.seen
	cfg.Transform = func(obj runtime.Object) (metav1.Object, error) { return meta.Accessor(obj) }
	cfg.ErrorHandler = func(informer.ReflectorInfo, error) {}
	cfg.Lists, cfg.MinSnapshotInterval = informer.ListPaged, 100*time.Millisecond
	cfg.Backoff = informer.Backoff{Initial: 20 * time.Millisecond, Max: 200 * time.Millisecond}
	m.Backoff = cfg.Backoff
	m.Quiet, m.MaxDelay = 10*time.Millisecond, 50*time.Millisecond
	m.ErrorHandler = func(error) {}
	var err error
	p.Batcher, err = push.NewBatcher(t.Name(), cfg)
	must(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	var (
		running sync.WaitGroup
		ended   error
	)
	running.Go(func() { ended = p.Run(ctx) })
	p.stop = func() error {
		cancel()
		running.Wait()
		return ended
	}
	t.Cleanup(func() { _ = p.stop() })
	return p
}

// settle waits until the service has what the server has, and the Batcher knows that:
// if an answer was lost, the service has it before. It then checks that nothing was
// deleted that the server still has, and that the Batcher stops without anything left.
func (s *service) settle(p *pushed, want map[store.Key]store.Meta) {
	s.t.Helper()
	until(s.t, "the service has what the server has", func() bool {
		stats := p.Stats()
		settled := stats.Reflector.State == informer.StateWatching && stats.Pending == 0 && stats.Accepted == len(want)
		return settled && maps.Equal(s.table(), want)
	}, func() any { return fmt.Sprintf("%s\n%+v\n%v", difference(s.table(), want), p.Stats(), s.figures()) })
	must(s.t, p.Flush(s.t.Context()))
	if stats := p.Stats(); stats.Accepted != len(want) || !stats.Synced || stats.PendingBytes != 0 {
		s.t.Errorf("all %d objects are accepted, but %+v", len(want), stats)
	}
	if err := p.stop(); errors.As(err, new(*push.UndeliveredError)) {
		s.t.Errorf("Run returned %v", err)
	}
	if got := s.table(); !maps.Equal(got, want) {
		s.t.Errorf("after the stop: %s", difference(got, want))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, row := range want {
		if was, ok := s.deleted[row.UID]; ok {
			s.t.Errorf("%v was deleted as %v, the server has it", row, was)
		}
	}
}
