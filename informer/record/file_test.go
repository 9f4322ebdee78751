// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package record_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/apiary-go/apiary/informer"
	"github.com/apiary-go/apiary/informer/record"
)

// The recording of a killed process ends anywhere. What is whole is replayed.
func TestCutOff(t *testing.T) {
	for _, name := range []string{"a.jsonl", "a.jsonl.gz"} {
		path := filepath.Join(t.TempDir(), name)
		file := record.NewFile(path)
		decodeAll(t, record.NewSource(listOf(podsNamed("a", "b", "c")...), file))
		data := readFile(t, path, file)
		for n := 1; n < len(data); n++ {
			replay, err := record.NewReplay[*corev1.Pod](bytes.NewReader(data[:n]), 0)
			if err != nil {
				if n > len(data)/2 && name == "a.jsonl" {
					t.Errorf("%s: %d of %d bytes: %v", name, n, len(data), err)
				}
				continue
			}
			ctx, cancel := context.WithCancel(t.Context())
			cancel() // of a call that the recording does not end
			_, _ = replay.List(ctx, metav1.ListOptions{}, func(item informer.Item[*corev1.Pod]) error {
				_, err := item.Decode()
				return err
			})
			if err := replay.Err(); err != nil {
				t.Errorf("%s: %d bytes: %v", name, n, err)
			}
		}
	}
}

func podsNamed(names ...string) (pods []*corev1.Pod) {
	for _, name := range names {
		pods = append(pods, &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name, ResourceVersion: "5"}})
	}
	return pods
}

// readFile returns the content of a File before it is closed.
func readFile(t *testing.T, path string, f *record.File) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Error(err)
	}
	return data
}

// A File has everything at the end of a call. It is private, and replaces an older one.
func TestFile(t *testing.T) {
	for _, name := range []string{"a.jsonl", "a.jsonl.gz"} {
		path := filepath.Join(t.TempDir(), name)
		for _, pod := range []string{"old", "new"} {
			file := record.NewFile(path)
			decodeAll(t, record.NewSource(listOf(podsNamed(pod)...), file))
			data := readFile(t, path, file)
			if zipped := bytes.HasPrefix(data, []byte{0x1f, 0x8b}); zipped != strings.HasSuffix(name, ".gz") {
				t.Errorf("%s: compressed is %v", name, zipped)
			}
			if got := replayed[*corev1.Pod](t, bytes.NewReader(data)); len(got) != 1 || got[0].Name != pod {
				t.Errorf("%s: replayed is %v, want %s", name, got, pod)
			}
			if _, err := file.Write([]byte("x")); !errors.Is(err, os.ErrClosed) {
				t.Errorf("a write after Close: %v", err)
			}
		}
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, error %v", name, info, err)
		}
	}
	path := filepath.Join(t.TempDir(), "unused")
	unused := record.NewFile(path)
	if err := errors.Join(unused.Flush(), unused.Close(), unused.Close()); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(path); err == nil {
		t.Error("a File without a Write exists")
	}
}
