// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package fluxcd_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fluxcd/cli-utils/pkg/kstatus/polling/aggregator"
	"github.com/fluxcd/cli-utils/pkg/kstatus/polling/collector"
	"github.com/fluxcd/cli-utils/pkg/kstatus/polling/engine"
	"github.com/fluxcd/cli-utils/pkg/kstatus/polling/event"
	"github.com/fluxcd/cli-utils/pkg/kstatus/polling/statusreaders"
	kstatus "github.com/fluxcd/cli-utils/pkg/kstatus/status"
	"github.com/fluxcd/cli-utils/pkg/kstatus/watcher"
	"github.com/fluxcd/cli-utils/pkg/object"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/apiary-go/apiary/fakeapi"
	"github.com/apiary-go/apiary/status"
	"github.com/apiary-go/apiary/status/fluxcd"
)

// Their engine with their readers reads from the watches. It reports the same statuses,
// and makes no request.
func TestClusterReaderFactory(t *testing.T) {
	play(t, func(t *testing.T, api *fakeapi.Server, e *status.Engine) {
		ctx, cancel := context.WithCancel(t.Context())
		events := theirs(fluxcd.NewClusterReaderFactory(ctx, e)).Poll(ctx, object.ObjMetadataSet{
			idOf(replicaSets, "web"), idOf(configMaps, "config"), idOf(configMaps, "missing"),
		}, engine.Options{PollInterval: 2 * time.Second})
		for _, want := range []string{"web InProgress", "config Current", "missing NotFound"} {
			if got := text(<-events); got != want {
				t.Errorf("got %q, want %q", got, want)
			}
		}
		synctest.Wait()
		before := len(api.Requests())
		time.Sleep(4 * time.Minute)
		if err := api.Add(setPod(true)); err != nil {
			t.Fatal(err)
		}
		ev := <-events
		if got := text(ev); got != "web Failed" || len(ev.Resource.GeneratedResources) != 1 {
			t.Errorf("got %q with %v", got, ev.Resource.GeneratedResources)
		}
		for _, r := range api.Requests()[before:] {
			if r.Verb != "watch" {
				t.Errorf("asked: %v", r)
			}
		}
		cancel()
		for range events { // their engine leaks what is not received
		}
	}, set(), setPod(false), configMap("config"))
}

// Polls that come and go read by the same reader, and what the last one has read is
// given back after a while.
func TestClusterReaderFactoryShared(t *testing.T) {
	play(t, func(t *testing.T, api *fakeapi.Server, e *status.Engine) {
		factory := fluxcd.NewClusterReaderFactory(t.Context(), e)
		for range 3 {
			ctx, cancel := context.WithCancel(t.Context())
			events := theirs(factory).Poll(ctx, object.ObjMetadataSet{idOf(configMaps, "config")}, engine.Options{PollInterval: time.Second})
			if got := text(<-events); got != "config Current" {
				t.Errorf("got %q", got)
			}
			cancel()
			for range events { // their engine leaks what is not received
			}
		}
		one, err := factory.New(nil, nil, nil)
		other, otherErr := factory.New(nil, nil, nil)
		if err != nil || otherErr != nil || one != other {
			t.Errorf("a reader for each Poll: %v, %v", err, otherErr)
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		before := len(api.Requests())
		time.Sleep(time.Hour)
		if asked := api.Requests()[before:]; len(asked) != 0 {
			t.Errorf("an hour after the last Poll is asked %v", asked)
		}
	}, configMap("config"))
}

// Their readers in our engine report the same statuses with the client of
// controller-runtime. A failing one ends nothing.
func TestStatusReader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client := fake.NewClientBuilder().WithObjects(set(), setPod(true), configMap("config")).Build()
		boom := errors.New("boom")
		m := mapper()
		e := &status.PollerEngine{
			Reader:              fluxcd.Reader(client),
			Mapper:              m,
			StatusReaders:       []status.StatusReader{fluxcd.StatusReader(failing{pods, boom})},
			DefaultStatusReader: fluxcd.StatusReader(statusreaders.NewDefaultStatusReader(m)),
		}
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		c := status.NewCollector()
		done := errors.New("done")
		err := c.Listen(ctx, e.Poll(ctx, fluxcd.IDs(object.ObjMetadataSet{
			idOf(replicaSets, "web"), idOf(configMaps, "config"), idOf(configMaps, "missing"), idOf(pods, "web-1"),
		}), status.Options{}), func(ev status.Event) error {
			if ev.Type == status.Synced {
				return done
			}
			return nil
		})
		if err != done {
			t.Fatal(err)
		}
		var got []string
		for _, s := range c.Statuses() {
			got = append(got, s.ID.Name+" "+string(s.Status)+" "+string(s.Reason))
			switch s.ID.Name {
			case "web":
				if len(s.Children) != 1 || s.Children[0].Status != status.Failed || s.Object.GetUID() != "web" {
					t.Errorf("web is %+v", s)
				}
			case "web-1":
				if !errors.Is(s.Err, boom) {
					t.Errorf("web-1 has %v", s.Err)
				}
			}
		}
		if want := []string{"config Current ", "missing NotFound ", "web-1 Unknown Transient", "web Failed "}; !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
	})
}

// failing is a status reader that fails.
type failing struct {
	kind schema.GroupKind
	err  error
}

func (f failing) Supports(kind schema.GroupKind) bool { return kind == f.kind }

func (f failing) ReadStatus(context.Context, engine.ClusterReader, object.ObjMetadata) (*event.ResourceStatus, error) {
	return nil, f.err
}

func (f failing) ReadStatusForObject(context.Context, engine.ClusterReader, *unstructured.Unstructured) (*event.ResourceStatus, error) {
	return nil, f.err
}

// Their collector and aggregator work with the events of our watcher, which goes on if
// a kind is forbidden.
func TestStatusWatcher(t *testing.T) {
	play(t, func(t *testing.T, api *fakeapi.Server, e *status.Engine) {
		api.Intercept(func(_ context.Context, r fakeapi.Request) error {
			if r.Resource.Resource == "configmaps" {
				return apierrors.NewForbidden(r.Resource.GroupResource(), r.Name, errors.New("no rule"))
			}
			return nil
		})
		ctx, cancel := context.WithCancel(t.Context())
		ids := object.ObjMetadataSet{idOf(replicaSets, "web"), idOf(configMaps, "config"), idOf(pods, "missing")}
		events := fluxcd.NewStatusWatcher(e).Watch(ctx, ids, watcher.Options{})
		c := collector.NewResourceStatusCollector(ids)
		var got []string
		done := c.ListenWithObserver(events, collector.ObserverFunc(func(_ *collector.ResourceStatusCollector, ev event.Event) {
			got = append(got, text(ev))
		}))
		synctest.Wait()
		slices.Sort(got[:len(got)-1])
		if want := []string{"config Unknown", "missing NotFound", "web InProgress", "synced"}; !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
		pod := setPod(true)
		pod.OwnerReferences[0].UID = c.ResourceStatuses[ids[0]].Resource.GetUID()
		if err := api.Add(pod); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		var all []*event.ResourceStatus
		for _, s := range c.ResourceStatuses {
			all = append(all, s)
		}
		if got := aggregator.AggregateStatus(all, kstatus.CurrentStatus); got != kstatus.FailedStatus {
			t.Errorf("all in all it is %s", got)
		}
		if err := c.ResourceStatuses[ids[1]].Error; !apierrors.IsForbidden(err) {
			t.Errorf("config has %v", err)
		}
		cancel()
		for result := range done {
			t.Errorf("ended with %v", result.Err)
		}
	}, set())
}

func TestStatusWatcherBadUse(t *testing.T) {
	play(t, func(t *testing.T, _ *fakeapi.Server, e *status.Engine) {
		for name, events := range map[string]<-chan event.Event{
			"no engine": fluxcd.NewStatusWatcher(nil).Watch(t.Context(), nil, watcher.Options{}),
			"no name":   fluxcd.NewStatusWatcher(e).Watch(t.Context(), object.ObjMetadataSet{idOf(pods, "")}, watcher.Options{}),
		} {
			if ev := <-events; ev.Type != event.ErrorEvent || ev.Error == nil {
				t.Errorf("%s: %v", name, ev)
			}
			if _, ok := <-events; ok {
				t.Errorf("%s: not closed", name)
			}
		}
		if _, err := fluxcd.NewClusterReaderFactory(t.Context(), nil).New(nil, nil, nil); err == nil {
			t.Error("a factory without an engine makes readers")
		}
	})
}

// After canceling, the caller need not drain the channel. A stopped engine sends its
// error.
func TestStatusWatcherEnds(t *testing.T) {
	play(t, func(t *testing.T, _ *fakeapi.Server, e *status.Engine) {
		var ids object.ObjMetadataSet
		for i := range 10 {
			ids = append(ids, idOf(configMaps, fmt.Sprint(i)))
		}
		for i := range 10 {
			ctx, cancel := context.WithCancel(t.Context())
			events := fluxcd.NewStatusWatcher(e).Watch(ctx, ids, watcher.Options{})
			for range i {
				<-events
			}
			cancel()
		}
		events := fluxcd.NewStatusWatcher(e).Watch(t.Context(), ids, watcher.Options{})
		stopped := make(chan error, 1)
		go func() { stopped <- e.Stop(context.Background()) }()
		var last event.Event
		for ev := range events {
			last = ev
		}
		if err := <-stopped; err != nil {
			t.Error(err)
		}
		if last.Type != event.ErrorEvent || !errors.Is(last.Error, status.ErrStopped) {
			t.Errorf("the last event is %v", last)
		}
	})
}

// A status that is converted and back is the same, except for fields that cli-utils
// lacks.
func TestConvert(t *testing.T) {
	id := status.ID{Namespace: "a", Name: "b", GroupKind: pods}
	forbidden := apierrors.NewForbidden(schema.GroupResource{Resource: "pods"}, "b", errors.New("no rule"))
	obj := &unstructured.Unstructured{Object: map[string]any{}}
	for _, s := range []status.ObjectStatus{
		{ID: id, Status: status.Current, Message: "there", Object: obj},
		{ID: id, Status: status.Unknown, Reason: status.NotObserved},
		{ID: id, Status: status.Unknown, Reason: status.Forbidden, Err: forbidden},
		{ID: id, Status: status.Unknown, Reason: status.Transient, Err: errors.New("no answer")},
		{ID: id, Status: status.Failed, Children: []status.ObjectStatus{{ID: id, Status: status.Failed}}},
	} {
		if got := fluxcd.ObjectStatus(fluxcd.ResourceStatus(s)); !got.Equal(s) || got.Object != s.Object {
			t.Errorf("got %+v, want %+v", got, s)
		}
	}
	if got := fluxcd.ObjectStatus(nil); got.Status != status.Unknown || got.Reason != status.RuleError || got.Err == nil {
		t.Errorf("nothing is %+v", got)
	}
	if got := fluxcd.Event(status.Event{Type: status.Error, Err: forbidden}); got.Type != event.ErrorEvent || got.Error != error(forbidden) {
		t.Errorf("got %v", got)
	}
}
