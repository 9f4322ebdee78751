// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package cells

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cilium/hive"
	"github.com/cilium/hive/cell"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/apiary-go/apiary/fakeapi"
	"github.com/apiary-go/apiary/informer"
	"github.com/apiary-go/apiary/informer/mirror"
	"github.com/apiary-go/apiary/informer/push"
	"github.com/apiary-go/apiary/informer/record"
	"github.com/apiary-go/apiary/resource"
)

// follow collects the events of a resource. It fails each third one once.
func follow(ctx context.Context, pods resource.Resource[*corev1.Pod]) func() []string {
	var events []string
	ended := make(chan struct{})
	start := time.Now()
	go func() {
		defer close(ended)
		for ev := range pods.Events(ctx) {
			text := fmt.Sprintf("%v %s %s", time.Since(start).Round(time.Second), ev.Kind, ev.Key)
			if ev.Object != nil {
				text += fmt.Sprintf(" %s %s %v", ev.Object.ResourceVersion, ev.Object.UID, ev.Object.Labels)
			}
			events = append(events, text)
			if len(events)%3 == 0 {
				ev.Done(fmt.Errorf("failed"))
				continue
			}
			ev.Done(nil)
		}
	}()
	return func() []string {
		<-ended
		return events
	}
}

// steadily has no random delays, for runs that are compared.
func steadily(t *testing.T) resource.Option {
	budget, err := informer.NewListBudget(1, 0)
	if err != nil {
		t.Fatal(err)
	}
	return resource.WithSettings(informer.Settings{Backoff: informer.Backoff{Jitter: -1}, ListBudget: budget, PageSize: 3})
}

// A resource is recorded while its server is in trouble. A replay without a server gives the
// same events at the same times.
func TestRecordAndReplay(t *testing.T) {
	path := filepath.Join(t.TempDir(), "pods.jsonl.gz")
	const long = 5 * time.Minute
	var want []string
	synctest.Test(t, func(t *testing.T) {
		api := fakeapi.New()
		defer api.Disconnect()
		if err := api.Add(pod("n", "a"), pod("n", "b"), pod("n", "c"), pod("n", "d"), pod("n", "e")); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), long)
		defer cancel()
		var events func() []string
		h := hive.New(withFake(api), Resource[*corev1.Pod](Record(path), With(steadily(t))),
			cell.Invoke(func(pods resource.Resource[*corev1.Pod]) { events = follow(ctx, pods) }))
		if err := h.Start(quiet(), ctx); err != nil {
			t.Fatal(err)
		}
		for i := range 20 {
			time.Sleep(5 * time.Second)
			changed := pod("n", string(rune('a'+i%7)))
			changed.Labels = map[string]string{"round": fmt.Sprint(i)}
			if err := api.Add(changed); err != nil {
				t.Fatal(err)
			}
			switch i {
			case 4:
				api.Disconnect()
			case 8:
				api.Intercept(func(context.Context, fakeapi.Request) error { return apierrors.NewTooManyRequests("slow down", 7) })
				api.Disconnect()
			case 10:
				api.Compact()
				api.Intercept(nil)
			case 13:
				if err := api.Remove(pod("n", "b")); err != nil {
					t.Fatal(err)
				}
			case 15:
				api.Compact()
				api.Disconnect()
			}
		}
		<-ctx.Done()
		if err := h.Stop(quiet(), context.Background()); err != nil {
			t.Fatal(err)
		}
		want = events()
	})
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	synctest.Test(t, func(t *testing.T) {
		replay, err := record.NewReplay[*corev1.Pod](file, 1)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), long)
		defer cancel()
		lc := &cell.DefaultLifecycle{}
		pods := resource.NewFromSource(lc, replay, steadily(t))
		events := follow(ctx, pods)
		if err := lc.Start(quiet(), ctx); err != nil {
			t.Fatal(err)
		}
		<-replay.Done()
		<-ctx.Done()
		if err := lc.Stop(quiet(), context.Background()); err != nil {
			t.Fatal(err)
		}
		if got, want := strings.Join(events(), "\n"), strings.Join(want, "\n"); got != want {
			t.Errorf("replayed are\n%s\nrecorded were\n%s", got, want)
		}
		if replay.Err() != nil {
			t.Error(replay.Err())
		}
		if len(want) < 25 {
			t.Errorf("only %d events", len(want))
		}
	})
}

// A recording that begins while the resource runs is replayed by itself: its first list has
// the objects of that moment, and then come the same events at the same times.
func TestRecordLater(t *testing.T) {
	path := filepath.Join(t.TempDir(), "pods.jsonl")
	const before, long = 77 * time.Second, 5 * time.Minute
	var want []string
	synctest.Test(t, func(t *testing.T) {
		api := fakeapi.New()
		defer api.Disconnect()
		if err := api.Add(pod("n", "a"), pod("n", "b"), pod("n", "c"), pod("n", "d")); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), before+long)
		defer cancel()
		var (
			all    *Resources
			pods   resource.Resource[*corev1.Pod]
			events func() []string
		)
		h := hive.New(withFake(api), Resource[*corev1.Pod](With(steadily(t))), cell.Invoke(func(r *Resources, p resource.Resource[*corev1.Pod]) {
			all, pods = r, p
			p.Observe(ctx, func(ev resource.Event[*corev1.Pod]) { ev.Done(nil) }, nil)
		}))
		if err := h.Start(quiet(), ctx); err != nil {
			t.Fatal(err)
		}
		change := func(i int) {
			changed := pod("n", string(rune('a'+i%7)))
			changed.Labels = map[string]string{"round": fmt.Sprint(i)}
			if err := api.Add(changed); err != nil {
				t.Fatal(err)
			}
		}
		change(5)
		time.Sleep(before)
		f, err := all.find("Pod.v1")
		if err != nil {
			t.Fatal(err)
		}
		if err := f.startRecording(path); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		events = follow(ctx, pods)
		for i := range 20 {
			time.Sleep(5 * time.Second)
			change(i)
			switch i {
			case 4:
				api.Disconnect()
			case 10:
				api.Compact()
				api.Disconnect()
			case 13:
				if err := api.Remove(pod("n", "b")); err != nil {
					t.Fatal(err)
				}
			}
		}
		<-ctx.Done()
		if err := h.Stop(quiet(), context.Background()); err != nil {
			t.Fatal(err)
		}
		want = events()
	})
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	synctest.Test(t, func(t *testing.T) {
		replay, err := record.NewReplay[*corev1.Pod](file, 1)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), long)
		defer cancel()
		lc := &cell.DefaultLifecycle{}
		pods := resource.NewFromSource(lc, replay, steadily(t))
		pods.Observe(ctx, func(ev resource.Event[*corev1.Pod]) { ev.Done(nil) }, nil)
		if err := lc.Start(quiet(), ctx); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		events := follow(ctx, pods)
		<-ctx.Done()
		if err := lc.Stop(quiet(), context.Background()); err != nil {
			t.Fatal(err)
		}
		got := events()
		for _, of := range [][]string{got, want} {
			slices.Sort(of) // the replay of the first state has the order of the store
		}
		if got, want := strings.Join(got, "\n"), strings.Join(want, "\n"); got != want {
			t.Errorf("replayed are\n%s\nrecorded were\n%s", got, want)
		}
		if replay.Err() != nil {
			t.Error(replay.Err())
		}
		if len(want) < 25 {
			t.Errorf("only %d events", len(want))
		}
	})
}

// A mirror and a push are recorded as well.
func TestRecordMirrorAndPush(t *testing.T) {
	dir := t.TempDir()
	api := fakeapi.New()
	if err := api.Add(pod("n", "a")); err != nil {
		t.Fatal(err)
	}
	mirrored, consumer := make(chan struct{}, 10), &inventory{calls: make(chan string, 10)}
	err := run(t, quiet(), nil, withFake(api), cell.Invoke(func(p Params) error {
		_, err := NewMirror("mirrored", p, mirror.InformerConfig[*corev1.Pod]{Handler: mirror.ResourceEventHandlerFuncs[*corev1.Pod]{
			AddFunc: func(context.Context, informer.Object[*corev1.Pod]) error { mirrored <- struct{}{}; return nil },
		}}, Record(filepath.Join(dir, "mirrored")))
		if err != nil {
			return err
		}
		_, err = NewPush("pushed", p, push.BatcherConfig[*corev1.Pod]{Consumer: consumer}, Record(filepath.Join(dir, "pushed")))
		return err
	}), atStart(t, func(context.Context, struct{ cell.In }) error {
		<-mirrored
		for call := ""; call != "has n/a"; {
			call = <-consumer.calls
		}
		return nil
	}))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"mirrored", "pushed"} {
		data, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil || !strings.Contains(string(data), `"name":"a"`) {
			t.Errorf("%s: %s, error %v", name, data, err)
		}
	}
}

// A file that cannot be made ends the recording with one log line. The resource works.
func TestRecordToNoFile(t *testing.T) {
	api := fakeapi.New()
	if err := api.Add(pod("n", "a")); err != nil {
		t.Fatal(err)
	}
	var out syncBuffer
	err := run(t, slog.New(slog.NewTextHandler(&out, nil)), nil, withFake(api), Resource[*corev1.Pod](Record(filepath.Join(t.TempDir(), "none", "pods"))),
		atStart(t, func(ctx context.Context, pods resource.Resource[*corev1.Pod]) error {
			expect(t, keys(storeOf(t, ctx, pods)), "n/a")
			return nil
		}))
	if err != nil {
		t.Fatal(err)
	}
	if text := out.String(); strings.Count(text, "Recording has ended") != 1 || !strings.Contains(text, "resource=Pod.v1") {
		t.Errorf("logged is %s", text)
	}
}

func TestRecordRefuses(t *testing.T) {
	type names struct{ metav1.PartialObjectMetadata }
	for want, opts := range map[string][]Option{
		"path is empty":    {Record("")},
		"made of a Secret": {Record("secrets"), From[*corev1.Secret]()},
		"give a path such": {Record("pods", record.WithoutFields(".")), From[*corev1.Pod]()},
	} {
		err := run(t, quiet(), nil, withFake(fakeapi.New()), cell.Invoke(func(p Params) error {
			_, err := NewMirror("names", p, mirror.InformerConfig[*names]{Handler: mirror.ResourceEventHandlerFuncs[*names]{}, Transform: nil}, opts...)
			return err
		}))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q", err, want)
		}
	}
}
