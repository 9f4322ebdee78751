// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package record_test

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/apiary-go/apiary/informer"
	"github.com/apiary-go/apiary/informer/internal/informertest"
	"github.com/apiary-go/apiary/informer/record"
	"github.com/apiary-go/apiary/informer/source"
)

// A call that differs from the recorded one returns what differs. The recorded call waits.
func TestDiffers(t *testing.T) {
	var out bytes.Buffer
	decodeAll(t, record.NewSource(listOf(podsNamed("a")...), &out))
	replay, err := record.NewReplay[*corev1.Pod](&out, 0)
	if err != nil {
		t.Fatal(err)
	}
	_, err = replay.List(t.Context(), metav1.ListOptions{LabelSelector: "app=shop", Limit: 3}, nil)
	if want := `call 1 is list labels="app=shop" limit=3: in the recorded run it was list`; err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("error %v, want %s", err, want)
	}
	if _, err := replay.Watch(t.Context(), metav1.ListOptions{}); err == nil || !strings.Contains(err.Error(), "is watch:") {
		t.Errorf("error %v", err)
	}
	if got := decodeAll(t, replay); len(got) != 1 {
		t.Errorf("got %v", got)
	}
	if replay.Err() == nil || !strings.Contains(replay.Err().Error(), "limit=3") {
		t.Errorf("Err is %v", replay.Err())
	}
	select {
	case <-replay.Done():
		t.Error("Done before a further call")
	default:
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	stopped := errors.New("stopped")
	cancel(stopped)
	if _, err := replay.Watch(ctx, metav1.ListOptions{}); err != stopped {
		t.Errorf("a call after the recording: %v", err)
	}
	<-replay.Done()
}

// The delays are those of the recorded run, divided by the speed.
func TestSpeed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := informertest.Scripted(t, informertest.Listed("after=2s rv=5 a@1"), informertest.Watched("after 10s", "+b@6", "after 8s", "-a@7"))
		var out bytes.Buffer
		run(t, record.NewSource(source.FromListerWatcher[informertest.Object](server, nil), &out), newCallSink(t, false), time.Minute)
		for speed, took := range map[float64]time.Duration{1: 20 * time.Second, 10: 2 * time.Second, 0.5: 40 * time.Second, 0: 0} {
			replay, err := record.NewReplay[informertest.Object](bytes.NewReader(out.Bytes()), speed)
			if err != nil {
				t.Fatal(err)
			}
			sink, start := newCallSink(t, false), time.Now()
			ctx, cancel := context.WithCancel(t.Context())
			go func() {
				<-replay.Done()
				if got := time.Since(start); got != took {
					t.Errorf("speed %v: %v, want %v", speed, got, took)
				}
				if keys := slices.Collect(sink.Keys()); len(keys) != 1 || keys[0].Name != "b" {
					t.Errorf("speed %v: the sink has %v", speed, keys)
				}
				cancel()
			}()
			reflector, _ := informer.NewReflector(informer.Config[informertest.Object]{Source: replay, Sink: sink, Settings: informer.Settings{PageSize: 5}})
			_ = reflector.Run(ctx)
			if replay.Err() != nil {
				t.Error(replay.Err())
			}
		}
	})
	for _, speed := range []float64{-1, -0.1} {
		if _, err := record.NewReplay[*corev1.Pod](strings.NewReader(""), speed); err == nil || !strings.Contains(err.Error(), "speed") {
			t.Errorf("speed %v: error %v", speed, err)
		}
	}
}

// A recording of another type, of another version, or no recording is an error.
func TestNoRecording(t *testing.T) {
	header := `{"line":"recording","at":0,"format":1,"objects":"*v1.Pod"}` + "\n"
	call := `{"line":"call","at":0,"call":"list","options":{}}` + "\n"
	for text, want := range map[string]string{
		"":                                   "empty",
		"hello":                              "line 1 is not a line",
		"{}\n":                               "not the header",
		strings.Replace(header, "1", "2", 1): "version 2",
		strings.Replace(header, "Pod", "Node", 1):                                               `"*v1.Node", not "*v1.Pod"`,
		header + "hello\n" + call:                                                               "line 2 is not a line",
		header + `{"line":"page"}` + "\n":                                                       "before the first call",
		header + call + `{"line":"event","event":{}}` + "\n":                                    "wrong place of a list",
		header + call + `{"line":"page"}` + "\n":                                                "wrong place of a list",
		header + call + `{"line":"page","page":{}}` + "\n" + `{"line":"page","page":{}}` + "\n": "line 4",
		header + `{"line":"call","call":"dance"}` + "\n":                                        `unknown call "dance"`,
		header + `{"line":"call","call":"list"}` + "\n":                                         "without options",
		"\x1f\x8bhello":            "gzip",
		strings.Repeat("x", 1<<20): "longer than",
	} {
		_, err := record.NewReplay[*corev1.Pod](strings.NewReader(text), 0)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.80q: error %v, want %q", text, err, want)
		}
	}
}
