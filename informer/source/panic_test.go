// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package source_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/cache"

	"github.com/apiary-go/apiary/informer"
	"github.com/apiary-go/apiary/informer/source"
	"github.com/apiary-go/apiary/store"
)

// faultyStreamer panics when it is asked, or when its body is read.
type faultyStreamer struct {
	*cache.ListWatch
	body io.ReadCloser
}

func (faultyStreamer) ObjectType() runtime.Object { return &corev1.Pod{} }

func (s faultyStreamer) Stream(context.Context, metav1.ListOptions) (io.ReadCloser, error) {
	if s.body == nil {
		panic("fault")
	}
	return s.body, nil
}

type faultyBody struct{}

func (faultyBody) Read([]byte) (int, error) { panic("fault") }
func (faultyBody) Close() error             { return nil }

// TestPanicsAreErrors: functions of the user are called on goroutines of ours. Their
// panics are errors of the request.
func TestPanicsAreErrors(t *testing.T) {
	listWatch := &cache.ListWatch{
		ListWithContextFunc:  func(context.Context, metav1.ListOptions) (runtime.Object, error) { panic("fault") },
		WatchFuncWithContext: func(context.Context, metav1.ListOptions) (watch.Interface, error) { panic("fault") },
	}
	list := func(s informer.Source[*corev1.Pod]) error {
		_, err := s.List(t.Context(), metav1.ListOptions{}, func(informer.Item[*corev1.Pod]) error { return nil })
		return err
	}
	open := func(s informer.Source[*corev1.Pod]) error {
		_, err := s.Watch(t.Context(), metav1.ListOptions{})
		return err
	}
	for _, c := range []struct {
		function string
		of       cache.ListerWatcher
		call     func(informer.Source[*corev1.Pod]) error
	}{
		{"List of the ListerWatcher", listWatch, list},
		{"Watch of the ListerWatcher", listWatch, open},
		{"Stream of the Streamer", faultyStreamer{}, list},
		{"Stream of the Streamer", faultyStreamer{}, open},
		{"Read of the body", faultyStreamer{body: faultyBody{}}, list},
	} {
		err := c.call(source.FromListerWatcher[*corev1.Pod](c.of, nil))
		var panicked *store.PanicError
		if !errors.As(err, &panicked) || panicked.Function != c.function || panicked.Value != "fault" || !bytes.Contains(panicked.Stack, []byte("panic_test.go")) {
			t.Errorf("%s: %v", c.function, err)
		}
	}
}
