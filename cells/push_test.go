// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package cells

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/cilium/hive/cell"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	corev1 "k8s.io/api/core/v1"

	"github.com/apiary-go/apiary/fakeapi"
	"github.com/apiary-go/apiary/informer"
	"github.com/apiary-go/apiary/informer/push"
	"github.com/apiary-go/apiary/store"
)

// inventory is a consumer.
type inventory struct {
	calls  chan string
	refuse bool
	poison string // the key of a pod that it refuses
}

func (i *inventory) say(format string, args ...any) error {
	i.calls <- fmt.Sprintf(format, args...)
	return nil
}

func (i *inventory) BeginSnapshot(_ context.Context, s push.SnapshotInfo) error {
	return i.say("begin, %s", s.Reason)
}
func (i *inventory) SnapshotPage(_ context.Context, _ push.SnapshotInfo, page []informer.Object[*corev1.Pod]) error {
	for _, pod := range page {
		_ = i.say("has %s", pod.Key)
	}
	return nil
}
func (i *inventory) EndSnapshot(context.Context, push.SnapshotInfo) error { return i.say("end") }
func (i *inventory) AbortSnapshot(push.SnapshotInfo, error)               {}
func (i *inventory) OnBatch(_ context.Context, batch push.Batch[*corev1.Pod]) error {
	if i.refuse {
		i.refuse = false
		return errors.New("not now")
	}
	refused := &push.RefusedError{Keys: map[store.Key]error{}}
	for _, c := range batch.Changes {
		if c.Key.String() == i.poison {
			refused.Keys[c.Key] = errors.New("too large")
			continue
		}
		_ = i.say("%s %s", c.Kind, c.Key)
	}
	if len(refused.Keys) > 0 {
		return refused
	}
	return nil
}

// One line pushes a resource to a consumer.
func TestPush(t *testing.T) {
	api := fakeapi.New()
	if err := api.Add(pod("a", "one"), pod("b", "other")); err != nil {
		t.Fatal(err)
	}
	health, registry := newHealthLog(), prometheus.NewRegistry()
	consumer := &inventory{calls: make(chan string, 100), refuse: true}
	err := run(t, quiet(), nil, withFake(api), Metrics,
		cell.Provide(
			func() cell.Health { return health },
			func() prometheus.Registerer { return registry },
			func() *inventory { return consumer },
		),
		Push[*corev1.Pod, *inventory](InNamespace("a")),
		atStart(t, func(ctx context.Context, in struct {
			cell.In
			Batcher *push.Batcher[*corev1.Pod]
		}) error {
			told := func(want ...string) {
				t.Helper()
				for _, w := range want {
					if got := <-consumer.calls; got != w {
						t.Errorf("told %q, want %q", got, w)
					}
				}
			}
			told("begin, first", "has a/one", "end")
			health.await(t, "Pod.v1 OK: synced, 1 object at the last list")
			if err := api.Add(pod("a", "two")); err != nil {
				return err
			}
			told("added a/two") // after a refusal
			in.Batcher.Resync(errors.New("asked"))
			told("begin, resync", "has a/one", "has a/two", "end")
			health.await(t, "Pod.v1 OK: synced, 2 objects at the last list") // the end was accepted
			if err := in.Batcher.Flush(ctx); err != nil {
				t.Error(err)
			}
			err := testutil.GatherAndCompare(registry, strings.NewReader(`
# HELP apiary_push_snapshots_total Snapshots that the consumer accepted.
# TYPE apiary_push_snapshots_total counter
apiary_push_snapshots_total{resource="Pod.v1"} 2
# HELP apiary_push_batches_total Batches passed to the consumer.
# TYPE apiary_push_batches_total counter
apiary_push_batches_total{resource="Pod.v1",result="failed"} 1
apiary_push_batches_total{resource="Pod.v1",result="ok"} 1
# HELP apiary_resource_objects Objects in the store, recorded by the mirror, or accepted by the consumer.
# TYPE apiary_resource_objects gauge
apiary_resource_objects{resource="Pod.v1"} 2
`), "apiary_push_snapshots_total", "apiary_push_batches_total", "apiary_resource_objects")
			if err != nil {
				t.Error(err)
			}
			if problems, err := testutil.GatherAndLint(registry); err != nil || len(problems) > 0 {
				t.Error(problems, err)
			}
			return nil
		}))
	if err != nil {
		t.Fatal(err)
	}
	health.await(t, "Pod.v1 Stopped")
	if families, err := registry.Gather(); err != nil || len(families) > 0 {
		t.Error("the metrics outlive the hive", families, err)
	}
}

// A pod that the consumer refuses is in the log and in the metrics.
func TestPushOfARefusedObject(t *testing.T) {
	api, registry := fakeapi.New(), prometheus.NewRegistry()
	var log bytes.Buffer
	consumer := &inventory{calls: make(chan string, 100), poison: "a/one"}
	dead := make(chan struct{})
	var b *push.Batcher[*corev1.Pod]
	err := run(t, slog.New(slog.NewTextHandler(&log, nil)), nil, withFake(api), Metrics,
		cell.Provide(func() prometheus.Registerer { return registry }),
		cell.Invoke(func(p Params) (err error) {
			b, err = NewPush("pods", p, push.BatcherConfig[*corev1.Pod]{Consumer: consumer, Merger: push.MergerConfig[*corev1.Pod]{
				ErrorHandler: func(err error) {
					if errors.As(err, new(*push.DeadLetterError)) {
						close(dead)
					}
				},
				MaxTries: 2, Quiet: -1, Backoff: informer.Backoff{Initial: time.Millisecond, Max: time.Millisecond},
			}})
			return err
		}),
		atStart(t, func(ctx context.Context, _ Params) error {
			<-b.Synced()
			if err := api.Add(pod("a", "one"), pod("a", "two")); err != nil {
				return err
			}
			<-dead
			return testutil.GatherAndCompare(registry, strings.NewReader(`
# HELP apiary_push_dead_letters Keys that the consumer refused too often. They are tried again when they change, and in the next snapshot.
# TYPE apiary_push_dead_letters gauge
apiary_push_dead_letters{resource="pods"} 1
# HELP apiary_push_failing Keys that the consumer refused, to be tried again.
# TYPE apiary_push_failing gauge
apiary_push_failing{resource="pods"} 0
`), "apiary_push_dead_letters", "apiary_push_failing")
		}))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`msg="The consumer failed, will try again" selects=Pod.v1 resource=pods key=a/one change=OnBatch retries=0 next=`,
		`msg="The consumer refused the object too often, will try again when it changes" selects=Pod.v1 resource=pods key=a/one change=OnBatch retries=1 error="too large"`,
	} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("the log lacks %s:\n%s", want, log.String())
		}
	}
}

func TestPushIsChecked(t *testing.T) {
	consumer := &inventory{}
	err := run(t, quiet(), nil, FakeClient, cell.Invoke(func(p Params) {
		for want, try := range map[string]struct {
			cfg push.BatcherConfig[*corev1.Pod]
			opt Option
		}{
			"Consumer is nil":   {},
			"leave out both":    {cfg: push.BatcherConfig[*corev1.Pod]{Consumer: consumer, ListerWatcher: &listWatch{}}},
			"not for a push":    {cfg: push.BatcherConfig[*corev1.Pod]{Consumer: consumer}, opt: Private()},
			"cells.InNamespace": {cfg: push.BatcherConfig[*corev1.Pod]{Consumer: consumer}, opt: InNamespace("A!")},
		} {
			if _, err := NewPush("pods", p, try.cfg, try.opt); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("error %v, want one with %q", err, want)
			}
		}
	}))
	if err != nil {
		t.Fatal(err)
	}
}
