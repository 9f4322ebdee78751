// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package resource_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/cache"

	"github.com/apiary-go/apiary/informer"
	"github.com/apiary-go/apiary/resource"
	"github.com/apiary-go/apiary/resource/resourcetest"
	"github.com/apiary-go/apiary/store"
)

var (
	historyRounds = flag.Int("history.rounds", 300, "how many histories TestHistory plays")
	historySeed   = flag.Uint64("history.seed", 0, "seed of the first history; 0 takes one from the clock")
)

// TestHistory plays random histories with time and goroutines under control. What
// a server did and what its subscribers were told and answered is recorded, and
// checked as a whole at the end.
func TestHistory(t *testing.T) {
	playHistories(t, (*follower).read)
}

// playHistories plays histories whose followers read their events like that.
func playHistories(t *testing.T, read func(*follower, <-chan resource.Event[*corev1.Pod])) {
	rounds := *historyRounds
	if testing.Short() {
		rounds = max(1, rounds/10)
	}
	seed := firstSeed()
	for round := range uint64(rounds) {
		synctest.Test(t, func(t *testing.T) {
			defer sayFailed(t, seed+round)
			h := newHistory(t, seed+round, read)
			h.play(h.rng, 20+h.rng.IntN(100))
			h.calmDown()
			if err := h.fake.Flush(t.Context()); err != nil {
				t.Fatal(err)
			}
			time.Sleep(10 * time.Minute) // more than any retry takes
			synctest.Wait()
			h.finish()
		})
		if t.Failed() {
			return
		}
	}
}

// TestHistoryConcurrent plays histories on the clock, with several goroutines that
// change the collection at once.
func TestHistoryConcurrent(t *testing.T) {
	rounds := max(1, *historyRounds/10)
	seed := firstSeed()
	for round := range uint64(rounds) {
		t.Run("", func(t *testing.T) {
			defer sayFailed(t, seed+round)
			h := newHistory(t, seed+round, (*follower).read)
			var wg sync.WaitGroup
			for i := range uint64(3) {
				rng := rand.New(rand.NewPCG(seed+round, i))
				wg.Go(func() { h.play(rng, 40) })
			}
			wg.Wait()
			h.calmDown()
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			defer cancel()
			if err := h.fake.Flush(ctx); err != nil {
				t.Fatal(err)
			}
			for !h.quiet() {
				select {
				case <-h.answered:
				case <-time.After(10 * time.Millisecond): // a filter has rejected the last one
				case <-ctx.Done():
					t.Fatalf("the subscribers do not come to rest: %+v", h.stats().Subscribers)
				}
			}
			h.finish()
		})
		if t.Failed() {
			return
		}
	}
}

func firstSeed() uint64 {
	if *historySeed != 0 {
		return *historySeed
	}
	return uint64(time.Now().UnixNano() / 1000)
}

func sayFailed(t *testing.T, seed uint64) {
	if t.Failed() {
		t.Logf("to repeat: -history.seed=%d -history.rounds=1", seed)
	}
}

// history is one play: a server, its resource and their followers, and the record
// of all.
type history struct {
	t    *testing.T
	rng  *rand.Rand
	mid  *rand.Rand // of what happens in the midst of something
	keys int
	fake *resourcetest.Fake[*corev1.Pod]
	read func(*follower, <-chan resource.Event[*corev1.Pod])

	calm     chan struct{} // closed: nothing fails or is slow from here on
	answered chan struct{} // has a token when there was a Done

	mu        sync.Mutex // also makes one of a change and its record
	seq       int64
	latest    int64
	states    map[store.Key][]state
	committed int64 // version of the first pass
	uids      int
	followers []*follower
	wg        sync.WaitGroup // of followers
}

// state is what the server said of a key at some version, until the next one.
type state struct {
	version int64
	uid     types.UID
	red     bool
	gone    bool
}

func newHistory(t *testing.T, seed uint64, read func(*follower, <-chan resource.Event[*corev1.Pod])) *history {
	h := &history{
		t:        t,
		read:     read,
		rng:      rand.New(rand.NewPCG(seed, 100)),
		mid:      rand.New(rand.NewPCG(seed, 101)),
		calm:     make(chan struct{}),
		answered: make(chan struct{}, 1),
		states:   map[store.Key][]state{},
	}
	h.keys = 1 + h.rng.IntN(8)
	settings := resourcetest.Settings()
	if h.rng.IntN(2) == 0 {
		settings.Lists = informer.ListPaged
		settings.PageSize = int64(1 + h.rng.IntN(4))
	}
	h.fake = resourcetest.New[*corev1.Pod](t,
		resource.WithSettings(settings),
		resource.WithObserver(informer.ObserverFunc(h.observe)),
		resource.WithIndexers(cache.Indexers{"color": func(obj any) ([]string, error) {
			h.intervene(40)
			return []string{obj.(*corev1.Pod).Labels["color"]}, nil
		}}),
		resource.WithIndexers(resource.LabelIndex("color")), // for the goroutines of subscribers
	)
	for range h.rng.IntN(h.keys + 1) {
		h.upsert(h.rng)
	}
	for range 1 + h.rng.IntN(3) {
		h.follow(h.rng)
	}
	return h
}

func isRed(p *corev1.Pod) bool { return p.Labels["color"] == "red" }

// views are the views of followers. All but the first and the last but one have the red
// objects only. Of the last two, only the color of an object matters.
var views = []struct {
	name               string
	filtered, distinct bool
	of                 func(resource.Resource[*corev1.Pod]) resource.Resource[*corev1.Pod]
}{
	{"all", false, false, func(r resource.Resource[*corev1.Pod]) resource.Resource[*corev1.Pod] { return r }},
	{"filter", true, false, byFilter},
	{"index", true, false, byIndex},
	{"filter of index", true, false, func(r resource.Resource[*corev1.Pod]) resource.Resource[*corev1.Pod] { return byFilter(byIndex(r)) }},
	{"index of index", true, false, func(r resource.Resource[*corev1.Pod]) resource.Resource[*corev1.Pod] {
		return resource.WithLabel(byIndex(r), "color", "red")
	}},
	{"distinct", false, true, byColor},
	{"distinct of index", true, true, func(r resource.Resource[*corev1.Pod]) resource.Resource[*corev1.Pod] { return byColor(byIndex(r)) }},
}

func byFilter(r resource.Resource[*corev1.Pod]) resource.Resource[*corev1.Pod] {
	return resource.Filter(r, isRed)
}

func byIndex(r resource.Resource[*corev1.Pod]) resource.Resource[*corev1.Pod] {
	return resource.ByIndex(r, "color", "red")
}

func byColor(r resource.Resource[*corev1.Pod]) resource.Resource[*corev1.Pod] {
	return resource.Distinct(r, resource.SameBy(func(p *corev1.Pod) any { return isRed(p) }))
}

// play does random things.
func (h *history) play(rng *rand.Rand, steps int) {
	synced := rng.IntN(steps)
	for step := range steps {
		if step == synced {
			h.fake.Sync()
		}
		switch n := rng.IntN(100); {
		case n < 46:
			h.upsert(rng)
		case n < 58:
			h.delete(rng)
		case n < 62:
			h.fake.Disconnect(someError(rng))
		case n < 65:
			h.fake.Expire()
		case n < 67:
			h.fake.Fail(someError(rng))
			time.Sleep(time.Duration(rng.IntN(5)) * time.Millisecond)
			h.fake.Fail(nil)
		case n < 71:
			h.follow(rng)
		case n < 73:
			h.leave(rng)
		default:
			time.Sleep(time.Duration(rng.IntN(8000)) * time.Microsecond)
		}
	}
	h.fake.Sync()
}

// intervene is called by the informer in the midst of what it does, and has the
// server do something once in so many times.
func (h *history) intervene(once int) {
	select {
	case <-h.calm:
		return
	default:
	}
	if h.mid.IntN(once) != 0 {
		return
	}
	switch h.mid.IntN(6) {
	case 0, 1:
		h.upsert(h.mid)
	case 2:
		h.delete(h.mid)
	case 3:
		h.fake.Disconnect(someError(h.mid))
	default:
		h.fake.Expire()
	}
}

func (h *history) observe(_ informer.ReflectorInfo, o informer.ReflectorEvent) {
	switch o := o.(type) {
	case informer.PageRead:
		h.intervene(5)
	case informer.ListDone:
		h.mu.Lock()
		defer h.mu.Unlock()
		if h.committed == 0 {
			h.committed = versionOf(o.Version)
		}
	}
}

// someError is nil as well.
func someError(rng *rand.Rand) error {
	pods := schema.GroupResource{Resource: "pods"}
	return []error{
		nil,
		errors.New("connection reset by peer"),
		io.ErrUnexpectedEOF,
		apierrors.NewForbidden(pods, "", errors.New("no")),
		apierrors.NewInternalError(errors.New("etcd is away")),
		apierrors.NewResourceExpired("not long enough ago"),
	}[rng.IntN(6)]
}

func (h *history) key(rng *rand.Rand) store.Key {
	return store.Key{Namespace: "ns", Name: strconv.Itoa(rng.IntN(h.keys))}
}

// upsert changes or creates an object, or creates it anew.
func (h *history) upsert(rng *rand.Rand) {
	key := h.key(rng)
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{
		Namespace: key.Namespace,
		Name:      key.Name,
		Labels:    map[string]string{"color": []string{"red", "green"}[rng.IntN(2)]},
	}}
	h.mu.Lock()
	defer h.mu.Unlock()
	if rng.IntN(6) == 0 {
		h.uids++
		pod.UID = types.UID(fmt.Sprintf("other-%d", h.uids))
	}
	stored := h.fake.Upsert(pod)
	next := state{version: versionOf(stored.ResourceVersion), uid: stored.UID, red: isRed(stored)}
	if now, ok := h.at(key, h.latest); ok && !now.gone && now.uid != next.uid {
		h.states[key] = append(h.states[key], state{version: next.version - 1, uid: now.uid, gone: true})
	}
	h.states[key] = append(h.states[key], next)
	h.latest = next.version
}

// delete deletes an object if there is one of a random key.
func (h *history) delete(rng *rand.Rand) {
	key := h.key(rng)
	h.mu.Lock()
	defer h.mu.Unlock()
	now, ok := h.at(key, h.latest)
	if !ok || now.gone {
		return
	}
	last := h.fake.Delete(key)
	h.latest = versionOf(last.ResourceVersion)
	h.states[key] = append(h.states[key], state{version: h.latest, uid: now.uid, gone: true})
}

// at returns the state of key that the server had at version.
func (h *history) at(key store.Key, version int64) (at state, ok bool) {
	for _, s := range h.states[key] {
		if s.version > version {
			break
		}
		at, ok = s, true
	}
	return at, ok
}

func versionOf(s string) int64 {
	v, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		panic(err)
	}
	return v
}

// calmDown ends all failures, and has everybody read and answer at once.
func (h *history) calmDown() {
	close(h.calm)
	h.fake.Fail(nil)
	h.fake.Sync()
}

func (h *history) stats() resource.Stats {
	return h.fake.Resource().(resource.Inspector).Stats()
}

// quiet reports whether nothing is left to be emitted or answered.
func (h *history) quiet() bool {
	for _, s := range h.stats().Subscribers {
		if s.Depth+s.Outstanding+s.Retrying+s.Replaying != 0 {
			return false
		}
	}
	return true
}

// finish ends the play when all is quiet, and checks the record.
func (h *history) finish() {
	if !h.quiet() {
		h.t.Errorf("not at rest: %+v", h.stats().Subscribers)
	}
	for _, v := range views {
		keep := isRed
		if !v.filtered {
			keep = nil
		}
		h.checkStore("store of "+v.name, v.of(h.fake.Resource()), keep)
	}
	for _, f := range h.followers {
		f.cancel()
	}
	h.wg.Wait()
	for _, f := range h.followers {
		f.check()
	}
}
