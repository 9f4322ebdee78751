// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/apiary-go/apiary/informer"
	"github.com/apiary-go/apiary/informer/push"
	"github.com/apiary-go/apiary/store"
)

const batchFailures = 3 // in a row, before what is pending is given up

// frontend serves a service by HTTP, with JSON. At random it refuses, hangs, loses an
// answer, is out of order for a while, or restarts the service empty. It is the consumer of a
// push, not an API server such as fakeapi.
type frontend struct {
	*service

	mu    sync.Mutex
	rng   *rand.Rand // nil: all is well
	deck  []string   // what becomes of the next calls
	decks int        // how many were played
	out   int        // how many further calls are refused
	wrong map[string]int
}

// goesWrong is what goes wrong in so many of a hundred calls. The others are well.
var goesWrong = map[string]int{
	"refuses": 5, "hangs": 2, "loses the answer": 5, "hangs after applying": 2, "restarts empty": 3, "out of order": 2,
}

// luck says what becomes of a call.
func (f *frontend) luck() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case f.rng == nil:
		return ""
	case f.out > 0:
		f.out--
		return "refuses"
	case len(f.deck) == 0:
		f.shuffle()
	}
	what := f.deck[0]
	if f.deck = f.deck[1:]; len(f.deck) == 0 {
		f.decks++
	}
	if what == "out of order" {
		f.out = batchFailures - 1
	}
	if what != "" {
		f.wrong[what]++
	}
	return what
}

func (f *frontend) shuffle() {
	f.deck = make([]string, 0, 100)
	for what, n := range goesWrong {
		for range n {
			f.deck = append(f.deck, what)
		}
	}
	f.deck = f.deck[:cap(f.deck)]
	f.rng.Shuffle(len(f.deck), func(i, j int) { f.deck[i], f.deck[j] = f.deck[j], f.deck[i] })
}

// calm ends what goes wrong at random.
func (f *frontend) calm() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.rng = nil
}

// played returns how many decks were played.
func (f *frontend) played() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.decks
}

func (f *frontend) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body) // to the end: only then is it noticed that the client gives up
	if err != nil {
		return
	}
	var st statement
	if err := json.Unmarshal(body, &st); err != nil || r.Method != http.MethodPost {
		f.t.Errorf("%s %s: %v", r.Method, r.URL, err)
		return
	}
	what := f.luck()
	switch what {
	case "refuses", "out of order":
		http.Error(w, what, http.StatusInternalServerError)
		return
	case "hangs":
		<-r.Context().Done()
		return
	case "restarts empty":
		f.restart()
	}
	err = f.take(r.Context(), st)
	switch {
	case what == "hangs after applying":
		<-r.Context().Done()
	case what == "loses the answer":
		http.Error(w, what, http.StatusBadGateway)
	case errors.Is(err, errUnknown):
		http.Error(w, err.Error(), http.StatusGone)
	case err != nil:
		http.Error(w, err.Error(), http.StatusInternalServerError)
	default:
		w.WriteHeader(http.StatusNoContent)
	}
}

// post returns what sends statements to a service at that address.
func post(client *http.Client, address string) func(context.Context, statement) error {
	path := map[string]string{
		"begin": "/snapshot/begin", "page": "/snapshot/page", "end": "/snapshot/end", "abort": "/snapshot/abort", "batch": "/batch",
	}
	return func(ctx context.Context, st statement) error {
		body, err := json.Marshal(st)
		if err != nil {
			return err
		}
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, address+path[st.Call], bytes.NewReader(body))
		if err != nil {
			return err
		}
		req.Header.Set("Content-Type", "application/json")
		resp, err := client.Do(req)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		_, _ = io.Copy(io.Discard, resp.Body)
		switch {
		case resp.StatusCode == http.StatusGone:
			return errUnknown
		case resp.StatusCode >= 300:
			return fmt.Errorf("%s: %s", st.Call, resp.Status)
		}
		return nil
	}
}

// churnMaps writes to some config maps at random until ctx ends: it makes them,
// changes them, deletes them and makes them anew.
func churnMaps(ctx context.Context, w world, number int, writes *atomic.Int64) {
	configMaps := w.kube.CoreV1().ConfigMaps(w.ns)
	rng := rand.New(rand.NewPCG(6, 7))
	for ctx.Err() == nil {
		name := fmt.Sprintf("m%02d", rng.IntN(number))
		var err error
		switch rng.IntN(6) {
		case 0:
			err = configMaps.Delete(ctx, name, metav1.DeleteOptions{})
		case 1, 2:
			_, err = configMaps.Create(ctx, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{})
		default:
			patch := fmt.Appendf(nil, `{"metadata":{"annotations":{"n":"%d"}}}`, rng.Int())
			_, err = configMaps.Patch(ctx, name, "application/merge-patch+json", patch, metav1.PatchOptions{})
		}
		if err == nil {
			writes.Add(1)
		}
	}
}

// Changes go by HTTP to a service that fails at random, hangs, loses answers and
// restarts empty. In the end it has what the server has, it was told nothing that is
// older than what it knew, and there was a list only where there has to be one: for
// the first snapshot, for each time that the service asked for one or failed too
// often, and again for each that the service did not let be completed.
func TestBatchHTTP(t *testing.T) {
	w := newWorld(t, sharedCluster(t).Kubeconfig())
	f := &frontend{service: newService(w), rng: rand.New(rand.NewPCG(8, rand.Uint64())), wrong: map[string]int{}}
	server := httptest.NewServer(f)
	defer server.Close()
	client := server.Client()
	client.Timeout = time.Second
	lw := w.lw(nil)
	p := runPush(t, push.BatcherConfig[metav1.Object]{
		ListerWatcher: lw, Settings: informer.Settings{PageSize: 10},
		Merger: push.MergerConfig[metav1.Object]{MaxItems: 8, MaxPending: 40, MaxFailures: batchFailures},
	}, post(client, server.URL))

	ctx, cancel := context.WithCancel(t.Context())
	var (
		writes  atomic.Int64
		churned sync.WaitGroup
	)
	churned.Go(func() { churnMaps(ctx, w, 30, &writes) })
	defer churned.Wait()
	defer cancel()
	until(t, "all has gone wrong that may", func() bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		return f.played() >= 2 && p.givenUp["asked for a snapshot"] >= 1 && p.givenUp["failed too often"] >= 1
	}, func() any { return fmt.Sprint(p.Stats(), f.figures()) })
	cancel()
	churned.Wait()
	f.calm()
	w.create("last") // for a service that restarted empty to say so
	f.settle(p, w.truth())
	lw.requests(t)

	started, done, failed := each[informer.ListStarted](&p.seen), each[informer.ListDone](&p.seen), each[informer.ListFailed](&p.seen)
	asked, often := p.givenUp["asked for a snapshot"], p.givenUp["failed too often"]
	stats, counts := p.Stats(), f.figures()
	t.Logf("%d writes; %d passes begun, %d of them completed, %d broken off; a snapshot was asked for %d times, for %d empty restarts, and %d times delivery failed too often",
		writes.Load(), len(started), len(done), len(failed), asked, counts["restarted"], often)
	t.Logf("%d batches with %d changes, %d failed, %d changes came to nothing, %d were dropped for a snapshot; went wrong: %v; applied: %v",
		stats.Batches, stats.Changes, stats.Failures, stats.Vanished, stats.Fenced, f.wrong, counts)
	if asked > counts["restarted"] {
		t.Errorf("the service asked for %d snapshots after %d empty restarts", asked, counts["restarted"])
	}
	// None without a reason: nor one for a failure that delivery got over, nor two
	// for one reason.
	if len(done) > 1+asked+often {
		t.Errorf("%d snapshots were completed, want at most 1+%d+%d", len(done), asked, often)
	}
	if len(started) > 1+asked+often+p.refused {
		t.Errorf("%d passes were begun, want at most 1+%d+%d, and %d that the service broke off", len(started), asked, often, p.refused)
	}
	for _, o := range failed {
		if o.Cause != informer.CauseSink {
			t.Errorf("a pass broke off by itself: %v", o.Err)
		}
	}
	for _, o := range done[1:] {
		if o.Pass.Reason != store.ReasonResync {
			t.Errorf("a pass because of %s, want that it was asked for: %v", o.Pass.Reason, o.Pass.Cause)
		}
	}
}
