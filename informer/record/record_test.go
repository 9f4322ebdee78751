// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package record_test

import (
	"bytes"
	"errors"
	"io"
	"log/slog"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/apiary-go/apiary/informer"
	"github.com/apiary-go/apiary/informer/internal/informertest"
	"github.com/apiary-go/apiary/informer/record"
	"github.com/apiary-go/apiary/internal/servertest"
	"github.com/apiary-go/apiary/store"
)

// listOf is a source of one list.
func listOf[T metav1.Object](objects ...T) informer.Source[T] {
	return servertest.OneList[T]{Objects: objects, Meta: func(obj T) store.Meta { return store.MetaOf(obj) }}
}

// decodeAll lists src once, and returns its objects.
func decodeAll[T any](t *testing.T, src informer.Source[T]) (objects []T) {
	t.Helper()
	_, err := src.List(t.Context(), metav1.ListOptions{}, func(item informer.Item[T]) error {
		obj, err := item.Decode()
		objects = append(objects, obj)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return objects
}

// replayed returns the objects of the one list of a recording.
func replayed[T any](t *testing.T, recording io.Reader) []T {
	t.Helper()
	replay, err := record.NewReplay[T](recording, 0)
	if err != nil {
		t.Fatal(err)
	}
	return decodeAll(t, replay)
}

func secretMeta() metav1.ObjectMeta {
	return metav1.ObjectMeta{
		Name: "keys", Namespace: "n", UID: "u1", ResourceVersion: "5", Labels: map[string]string{"app": "shop"},
		Annotations:   map[string]string{corev1.LastAppliedConfigAnnotation: "hunter2", "example.com/token": "hunter3", "note": "kept"},
		ManagedFields: []metav1.ManagedFieldsEntry{{Manager: "hunter2"}},
	}
}

// Data of Secrets, what kubectl keeps, and the named fields are not recorded. The rest is.
func TestLeavesOut(t *testing.T) {
	leave := record.WithoutFields("metadata.annotations[example.com/token]", "spec.containers.env", "spec.containers.env.name")
	check := func(name string, out *bytes.Buffer, want ...string) {
		t.Helper()
		for _, bad := range []string{"hunter2", "hunter3", "aHVudGVyMg"} {
			if strings.Contains(out.String(), bad) {
				t.Errorf("%s: recorded is %q:\n%s", name, bad, out)
			}
		}
		for _, w := range want {
			if !strings.Contains(out.String(), w) {
				t.Errorf("%s: %q is not recorded:\n%s", name, w, out)
			}
		}
	}
	var out bytes.Buffer
	secret := &corev1.Secret{ObjectMeta: secretMeta(), Type: "Opaque",
		Data: map[string][]byte{"password": []byte("hunter2")}, StringData: map[string]string{"password": "hunter2"}}
	decodeAll(t, record.NewSource(listOf(secret), &out, leave))
	check("Secret", &out, "Opaque", "kept", "shop")
	got := replayed[*corev1.Secret](t, &out)
	if len(got) != 1 || got[0].ResourceVersion != "5" || got[0].UID != "u1" || got[0].Data != nil {
		t.Errorf("replayed is %v", got)
	}
	if secret.Data == nil || secret.Annotations["example.com/token"] == "" {
		t.Error("the object of the resource was modified")
	}

	out.Reset()
	u := &unstructured.Unstructured{Object: map[string]any{"kind": "Secret", "apiVersion": "v1", "data": map[string]any{"password": "aHVudGVyMg"},
		"metadata": map[string]any{"name": "keys", "resourceVersion": "5"}}}
	decodeAll(t, record.NewSource(listOf(u), &out))
	check("unstructured Secret", &out, `"name":"keys"`)

	out.Reset()
	pod := &corev1.Pod{ObjectMeta: secretMeta(), Spec: corev1.PodSpec{NodeName: "node-1", Containers: []corev1.Container{
		{Name: "a", Image: "image-a", Env: []corev1.EnvVar{{Name: "PASSWORD", Value: "hunter2"}}},
		{Name: "b", Image: "image-b", Env: []corev1.EnvVar{{Name: "PASSWORD", Value: "hunter2"}}},
	}}}
	decodeAll(t, record.NewSource(listOf(pod), &out, leave))
	check("Pod", &out, "image-a", "image-b", "node-1")

	out.Reset()
	config := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "a"}, Data: map[string]string{"k": "kept"}}
	decodeAll(t, record.NewSource(listOf(config), &out))
	check("ConfigMap", &out, "kept")
}

func TestInvalidOptions(t *testing.T) {
	sink := informertest.NewChanSink[*corev1.Pod]()
	for name, opt := range map[string]record.Option{
		"empty": record.WithoutFields(""), "dots": record.WithoutFields("spec..x"), "open": record.WithoutFields("metadata.labels[a"),
		"all metadata": record.WithoutFields("metadata"), "version": record.WithoutFields("metadata.resourceVersion"), "limit": record.WithLimit(-1),
	} {
		src := record.NewSource(listOf[*corev1.Pod](), io.Discard, nil, opt)
		if _, err := informer.NewReflector(informer.Config[*corev1.Pod]{Source: src, Sink: sink}); err == nil || !strings.Contains(err.Error(), "With") {
			t.Errorf("%s: error %v", name, err)
		}
	}
	if _, err := informer.NewReflector(informer.Config[*corev1.Pod]{Source: record.NewSource(listOf[*corev1.Pod](), nil), Sink: sink}); err == nil {
		t.Error("no error for a nil writer")
	}
}

// badWriter fails, or panics, after some bytes.
type badWriter struct {
	left   int
	panics bool
	writes int
}

func (w *badWriter) Write(p []byte) (int, error) {
	w.writes++
	if w.left -= len(p); w.left < 0 {
		if w.panics {
			panic("no disk")
		}
		return 0, errors.New("no space left")
	}
	return len(p), nil
}

// A writer that fails or panics ends the recording with one log line. The source continues.
func TestWriterFails(t *testing.T) {
	for _, w := range []*badWriter{{}, {panics: true}, {left: 200}} {
		var log bytes.Buffer
		pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "a", ResourceVersion: "5"}, Spec: corev1.PodSpec{NodeName: strings.Repeat("x", 5000)}}
		src := record.NewSource(listOf(pod, pod), w, record.WithLogger(slog.New(slog.NewTextHandler(&log, nil))))
		for range 3 {
			if got := decodeAll(t, src); len(got) != 2 || got[0] != pod {
				t.Errorf("got %v", got)
			}
		}
		if lines := strings.Count(log.String(), "\n"); lines != 1 || !strings.Contains(log.String(), "Recording has ended") {
			t.Errorf("%d log lines, want 1: %s", lines, &log)
		}
		if w.writes > 2 {
			t.Errorf("%d writes after the failure", w.writes)
		}
	}
}

// stubborn cannot be encoded.
type stubborn struct {
	metav1.ObjectMeta
	panics bool
}

func (s *stubborn) MarshalJSON() ([]byte, error) {
	if s.panics {
		panic("hunter2")
	}
	return nil, errors.New("hunter2")
}

// An object that cannot be encoded is recorded as an error. The source returns it.
func TestObjectFails(t *testing.T) {
	var out bytes.Buffer
	objects := []*stubborn{{ObjectMeta: metav1.ObjectMeta{Name: "a"}}, {ObjectMeta: metav1.ObjectMeta{Name: "b"}, panics: true}}
	if got := decodeAll(t, record.NewSource(listOf(objects...), &out)); len(got) != 2 {
		t.Errorf("got %v", got)
	}
	if text := out.String(); strings.Contains(text, "hunter2") || strings.Count(text, "could not be recorded") != 2 {
		t.Error(text)
	}
	replay, err := record.NewReplay[*stubborn](&out, 0)
	if err != nil {
		t.Fatal(err)
	}
	_, err = replay.List(t.Context(), metav1.ListOptions{}, func(item informer.Item[*stubborn]) error {
		if _, err := item.Decode(); informer.CauseOf(err) != informer.CauseDecoding {
			t.Errorf("error %v", err)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

// At its limit a recording ends with a line and a log line that say so. What was recorded
// before can be replayed.
func TestLimit(t *testing.T) {
	var out, log bytes.Buffer
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "a", ResourceVersion: "5"}}
	src := record.NewSource(listOf(pod), &out, record.WithLimit(5000), record.WithLogger(slog.New(slog.NewTextHandler(&log, nil))))
	for range 100 {
		decodeAll(t, src)
	}
	if n := out.Len(); n < 4000 || n > 5200 {
		t.Errorf("%d bytes are recorded", n)
	}
	if !strings.HasSuffix(out.String(), "limit of 5000 bytes\"}\n") || strings.Count(log.String(), "limit of 5000 bytes") != 1 {
		t.Errorf("recorded is\n%s\nlogged is\n%s", &out, &log)
	}
	if got := replayed[*corev1.Pod](t, &out); len(got) != 1 || got[0].Name != "a" {
		t.Errorf("replayed is %v", got)
	}
}

// What a sink already had is not decoded, in either run. A sink without it gets an error.
func TestNotDecoded(t *testing.T) {
	var out bytes.Buffer
	src := record.NewSource(listOf(podsNamed("a", "b")...), &out)
	_, err := src.List(t.Context(), metav1.ListOptions{}, func(item informer.Item[*corev1.Pod]) (err error) {
		if item.Meta().Key.Name == "b" {
			_, err = item.Decode()
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	replay, _ := record.NewReplay[*corev1.Pod](&out, 0)
	var errs []error
	_, _ = replay.List(t.Context(), metav1.ListOptions{}, func(item informer.Item[*corev1.Pod]) error {
		_, err := item.Decode()
		errs = append(errs, err)
		return nil
	})
	if len(errs) != 2 || errs[0] == nil || !strings.Contains(errs[0].Error(), "its sink had it") || errs[1] != nil {
		t.Errorf("errors %v", errs)
	}
}

// strictList is a strict source.
type strictList struct{ informer.Source[*corev1.Pod] }

func (strictList) StrictDecoding() bool { return true }

// A recording keeps that its source is strict.
func TestStrict(t *testing.T) {
	for _, src := range []informer.Source[*corev1.Pod]{strictList{listOf[*corev1.Pod]()}, listOf[*corev1.Pod]()} {
		_, want := src.(strictList)
		var out bytes.Buffer
		recorded := record.NewSource(src, &out)
		if got := recorded.(informer.StrictDecoder).StrictDecoding(); got != want {
			t.Errorf("the recorder: strict is %v, want %v", got, want)
		}
		decodeAll(t, recorded)
		replay, err := record.NewReplay[*corev1.Pod](&out, 0)
		if err != nil {
			t.Fatal(err)
		}
		if got := replay.StrictDecoding(); got != want {
			t.Errorf("the replay: strict is %v, want %v", got, want)
		}
	}
}
