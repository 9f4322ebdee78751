// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package clientgo_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"k8s.io/client-go/tools/cache"

	"github.com/apiary-go/apiary/informer"
	"github.com/apiary-go/apiary/informer/clientgo"
	"github.com/apiary-go/apiary/informer/internal/informertest"
	"github.com/apiary-go/apiary/informer/source"
	"github.com/apiary-go/apiary/internal/logtest"
)

func deltaFIFO(known cache.KeyListerGetter) cache.Queue {
	return cache.NewDeltaFIFOWithOptions(cache.DeltaFIFOOptions{KnownObjects: known, EmitDeltaTypeReplaced: true})
}

func realFIFO(known cache.KeyListerGetter) cache.Queue {
	if known == nil {
		known = cache.NewStore(cache.MetaNamespaceKeyFunc)
	}
	return cache.NewRealFIFOWithOptions(cache.RealFIFOOptions{KnownObjects: known})
}

func atomicFIFO(cache.KeyListerGetter) cache.Queue {
	return cache.NewRealFIFOWithOptions(cache.RealFIFOOptions{AtomicEvents: true, UnlockWhileProcessing: true})
}

// queues makes each kind of queue there is.
var queues = map[string]func(known cache.KeyListerGetter) cache.Queue{
	"DeltaFIFO": deltaFIFO, "RealFIFO": realFIFO, "RealFIFO, atomic": atomicFIFO,
}

// notingQueue notes calls, and fails those that a test chose.
type notingQueue struct {
	cache.Queue
	updates, resyncs chan struct{}
	resync           error
	pop, replace     func() error
}

func (q notingQueue) Replace(list []any, version string) error {
	if q.replace != nil {
		if err := q.replace(); err != nil {
			return err
		}
	}
	return q.Queue.Replace(list, version)
}

func (q notingQueue) Update(obj any) error {
	if q.updates != nil {
		q.updates <- struct{}{}
	}
	return q.Queue.Update(obj)
}

func (q notingQueue) Resync() error {
	if err := q.Queue.Resync(); err != nil {
		return err
	}
	if q.resyncs != nil {
		q.resyncs <- struct{}{}
	}
	return q.resync
}

func (q notingQueue) Pop(process cache.PopProcessFunc) (any, error) {
	if q.pop != nil {
		if err := q.pop(); err != nil {
			return nil, err
		}
	}
	return q.Queue.Pop(process)
}

// controller is a Controller that runs.
type controller struct {
	*clientgo.Controller[informertest.Object]
	cancel context.CancelCauseFunc
	ended  chan error
}

var errTestOver = errors.New("the test is over")

// start runs a controller, which is stopped at the end of the test at the latest.
func start(t *testing.T, cfg clientgo.ControllerConfig[informertest.Object]) *controller {
	t.Helper()
	if cfg.Observer == nil {
		cfg.Observer = informer.ObserverFunc(func(informer.ReflectorInfo, informer.ReflectorEvent) {})
	}
	c, err := clientgo.NewNamedController("pods", cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	running := &controller{Controller: c, cancel: cancel, ended: make(chan error, 1)}
	go func() { running.ended <- c.Run(ctx) }()
	return running
}

// stop ends Run and waits for it.
func (c *controller) stop(t *testing.T) {
	t.Helper()
	c.cancel(errTestOver)
	if err := informertest.Await(t, "end of Run", c.ended); err != errTestOver {
		t.Errorf("Run returned %v", err)
	}
}

// TestControllerConfigIsChecked: every setting that makes no sense is an error that
// names it.
func TestControllerConfigIsChecked(t *testing.T) {
	good := func() clientgo.ControllerConfig[informertest.Object] {
		return clientgo.ControllerConfig[informertest.Object]{
			Queue: deltaFIFO(nil), ListerWatcher: &informertest.ScriptedServer{}, Process: func(any, bool) error { return nil },
		}
	}
	if _, err := clientgo.NewNamedController("", good()); err != nil {
		t.Errorf("defaults: %v", err)
	}
	for want, spoil := range map[string]func(*clientgo.ControllerConfig[informertest.Object]){
		"Queue is nil":                          func(c *clientgo.ControllerConfig[informertest.Object]) { c.Queue = (*cache.DeltaFIFO)(nil) },
		"Process is nil":                        func(c *clientgo.ControllerConfig[informertest.Object]) { c.Process = nil },
		"ListerWatcher and Source are nil":      func(c *clientgo.ControllerConfig[informertest.Object]) { c.ListerWatcher = (*cache.ListWatch)(nil) },
		"ListerWatcher and Source are both set": func(c *clientgo.ControllerConfig[informertest.Object]) { c.Source = informertest.CarelessSource{} },
		"FullResyncPeriod is -1s":               func(c *clientgo.ControllerConfig[informertest.Object]) { c.FullResyncPeriod = -time.Second },
		"Settings.PageSize is -1":               func(c *clientgo.ControllerConfig[informertest.Object]) { c.PageSize = -1 },
		"Backoff.Initial is -1ns":               func(c *clientgo.ControllerConfig[informertest.Object]) { c.Backoff.Initial = -1 },
		"Settings.Lists is 7":                   func(c *clientgo.ControllerConfig[informertest.Object]) { c.Lists = 7 },
		"was given no Lister": func(c *clientgo.ControllerConfig[informertest.Object]) {
			c.ListerWatcher, c.Source = nil, source.FromListerWatcher[informertest.Object](nil, nil)
		},
	} {
		cfg := good()
		spoil(&cfg)
		_, err := clientgo.NewNamedController("pods", cfg)
		if err == nil || !strings.Contains(err.Error(), want) || !strings.HasPrefix(err.Error(), "controller pods: ") {
			t.Errorf("want an error with %q, got %v", want, err)
		}
	}
}

// TestController: what the server tells is processed in order, by each kind of
// queue, and nothing else happens after Run.
func TestController(t *testing.T) {
	for name, queue := range queues {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var got []string
				c := start(t, clientgo.ControllerConfig[informertest.Object]{
					Queue: queue(nil),
					ListerWatcher: informertest.Scripted(t, informertest.Listed("rv=5 a@1"),
						informertest.Watched("after 10s", "+b@6", "after 10s", "~a@7", "after 10s", "-b@8", "after 10s", "bookmark 9")),
					Process: func(item any, initial bool) error {
						got = append(got, fmt.Sprintf("%s %v", text(item), initial))
						return nil
					},
				})
				synctest.Wait()
				if c.LastSyncResourceVersion() != "5" || !c.HasSynced() {
					t.Errorf("after the list: at %q, synced %v", c.LastSyncResourceVersion(), c.HasSynced())
				}
				time.Sleep(time.Minute)
				c.stop(t)
				if v := c.LastSyncResourceVersion(); v != "9" {
					t.Errorf("at the end: at %q", v)
				}
				want := []string{"Replaced a@1 true", "Updated b@6 false", "Updated a@7 false"}
				if name == "RealFIFO, atomic" {
					want[0] = "ReplacedAll 5 a@1 true"
				}
				if name == "DeltaFIFO" {
					// It knows of no b, which is no longer in the queue.
				} else {
					want = append(want, "Deleted b@8 false")
				}
				if !slices.Equal(got, want) {
					t.Errorf("got %q\nwant %q", got, want)
				}
				if stats := c.Stats(); stats != (clientgo.ControllerStats{Processed: uint64(len(want))}) {
					t.Errorf("%+v", stats)
				}
				if err := c.Run(t.Context()); err == nil || !strings.HasPrefix(err.Error(), "controller pods: Run was called before") {
					t.Errorf("a second Run returned %v", err)
				}
			})
		})
	}
}

// TestControllerLogs: by default failures of Process, of the queue and of the server
// are logged, those of one item that fails again and again not each time.
func TestControllerLogs(t *testing.T) {
	var out bytes.Buffer
	logtest.SetDefault(t, slog.NewTextHandler(&out, nil))
	synctest.Test(t, func(t *testing.T) {
		failures := 0
		c, err := clientgo.NewNamedController("pods", clientgo.ControllerConfig[informertest.Object]{
			Queue:         notingQueue{Queue: deltaFIFO(nil), resync: errors.New("does not resync")},
			ListerWatcher: informertest.Scripted(t, informertest.Listed("error 403"), informertest.Listed("rv=5 a@1")),
			RetryOnError:  true, FullResyncPeriod: 2 * time.Hour,
			Process: func(any, bool) error {
				if failures++; failures > 40 {
					return nil
				}
				return errors.New("does not work")
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Hour)
		defer cancel()
		_ = c.Run(ctx)
	})
	for what, n := range map[string]int{
		"controller pods: process a: does not work": 6, "failure 32, again in": 1, `)" omitted=15`: 1,
		"controller pods: resync: does not resync": 1, "grant the client's identity the verbs list": 1,
	} {
		if got := strings.Count(out.String(), what); got != n {
			t.Errorf("%q is logged %d times, want %d", what, got, n)
		}
	}
	if t.Failed() {
		t.Log(out.String())
	}
}

// TestResync: the queue is asked to resync every so often, if ShouldResync does not
// object, and brings what is known.
func TestResync(t *testing.T) {
	for _, should := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			known := cache.NewStore(cache.MetaNamespaceKeyFunc)
			_ = known.Add(informertest.ParseObject("a@1"))
			begin := time.Now()
			var got []string
			var asked, reported int
			c := start(t, clientgo.ControllerConfig[informertest.Object]{
				Queue: notingQueue{Queue: deltaFIFO(known), resync: errors.New("no")},
				// Nothing is known to be complete for the first 40 s.
				ListerWatcher: informertest.Scripted(t, informertest.Listed("error 500 retry=40"), informertest.Listed("rv=5 a@1")),
				Process: func(item any, _ bool) error {
					got = append(got, fmt.Sprint(time.Since(begin), " ", text(item)))
					return nil
				},
				FullResyncPeriod: 30 * time.Second,
				ShouldResync:     func() bool { asked++; return should },
				ErrorHandler:     func(error) { reported++ },
				Settings:         informer.Settings{Backoff: informer.Backoff{Jitter: -1}},
			})
			time.Sleep(105 * time.Second)
			c.stop(t)
			want := []string{"40s Replaced a@1", "1m10s Sync a@1", "1m40s Sync a@1"}
			n := 2
			if !should {
				want, n = want[:1], 0
			}
			if !slices.Equal(got, want) || asked != 2 || reported != n || c.Stats().Resyncs != uint64(n) {
				t.Errorf("got %q, asked %d times, %d errors, %+v", got, asked, reported, c.Stats())
			}
		})
	}
}

// TestQueueClosedByOthers: that ends Run, with an error that says so.
func TestQueueClosedByOthers(t *testing.T) {
	for name, queue := range queues {
		t.Run(name, func(t *testing.T) {
			processed := make(chan any, 9)
			q := queue(nil)
			c := start(t, clientgo.ControllerConfig[informertest.Object]{
				Queue: q, ListerWatcher: informertest.Scripted(t, informertest.Listed("rv=5 a@1")),
				Process: func(item any, _ bool) error { processed <- item; return nil },
			})
			informertest.Await(t, "item", processed)
			q.Close()
			if err := informertest.Await(t, "end of Run", c.ended); !errors.Is(err, cache.ErrFIFOClosed) || !strings.HasPrefix(err.Error(), "controller pods: ") {
				t.Errorf("Run returned %v", err)
			}
		})
	}
}

// TestStrangeQueue: a queue whose Pop fails is not asked again at once, and its
// errors are reported.
func TestStrangeQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		var pops []time.Duration
		var reported []error
		c := start(t, clientgo.ControllerConfig[informertest.Object]{
			Queue: notingQueue{Queue: deltaFIFO(nil), pop: func() error {
				if pops = append(pops, time.Since(begin)); len(pops) <= 3 {
					return errors.New("out of order")
				}
				return nil
			}},
			ListerWatcher: informertest.Scripted(t, informertest.Listed("rv=5 a@1")),
			Process:       func(any, bool) error { return nil },
			ErrorHandler:  func(err error) { reported = append(reported, err) },
			Settings:      informer.Settings{Backoff: informer.Backoff{Initial: time.Second, Jitter: -1}},
		})
		time.Sleep(6 * time.Second)
		if c.HasSynced() {
			t.Error("synced without an item")
		}
		time.Sleep(2 * time.Second)
		c.stop(t)
		if want := []time.Duration{0, 1 * time.Second, 3 * time.Second, 7 * time.Second, 7 * time.Second}; !slices.Equal(pops, want) || !c.HasSynced() {
			t.Errorf("calls of Pop after %v, want %v; synced %v", pops, want, c.HasSynced())
		}
		if len(reported) != 3 || reported[0].Error() != "controller pods: pop: out of order" {
			t.Errorf("the error handler got %q", reported)
		}
	})
}
