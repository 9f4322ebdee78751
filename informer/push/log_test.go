// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package push_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"k8s.io/apimachinery/pkg/watch"

	"github.com/apiary-go/apiary/informer/internal/informertest"
	"github.com/apiary-go/apiary/informer/push"
	"github.com/apiary-go/apiary/internal/logtest"
	"github.com/apiary-go/apiary/store"
)

// Without an ErrorHandler the log says whose failure it is, of what, and what was lost.
func TestMergerLog(t *testing.T) {
	var out bytes.Buffer
	logtest.SetDefault(t, slog.NewTextHandler(&out, nil))
	synctest.Test(t, func(t *testing.T) {
		m, err := push.NewEventMerger("pods", push.MergerConfig[informertest.Object]{},
			func(context.Context, push.Batch[informertest.Object]) error { return errors.New("no room") })
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 600*time.Millisecond)
		defer cancel()
		obj := informertest.ParseObject("a@1")
		if err := m.Add(ctx, watch.Added, informertest.MetaOf(obj), obj); err != nil {
			t.Fatal(err)
		}
		_ = m.Run(ctx)
	})
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	for i, want := range []string{
		`msg="A change could not be handled, will try again" resource=pods`,
		`msg="Changes were not delivered" resource=pods changes=1 error="pods: 1 changes were not delivered before the end: handler: OnBatch: no room"`,
	} {
		if at := min(i*(len(lines)-1), len(lines)-1); !strings.Contains(lines[at], want) {
			t.Errorf("line %d lacks %s:\n%s", at, want, out.String())
		}
	}
}

// The log names a dead letter.
func TestMergerLogsDeadLetters(t *testing.T) {
	var out bytes.Buffer
	logtest.SetDefault(t, slog.NewTextHandler(&out, nil))
	synctest.Test(t, func(t *testing.T) {
		m, err := push.NewEventMerger("pods", push.MergerConfig[informertest.Object]{MaxTries: 2},
			func(_ context.Context, b push.Batch[informertest.Object]) error {
				return &push.RefusedError{Keys: map[store.Key]error{b.Changes[0].Key: nil}}
			})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		obj := informertest.ParseObject("a@1")
		if err := m.Add(ctx, watch.Added, informertest.MetaOf(obj), obj); err != nil {
			t.Fatal(err)
		}
		_ = m.Run(ctx)
	})
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	for i, want := range []string{
		`msg="A change could not be handled, will try again" resource=pods key=a retries=0 next=`,
		`msg="The consumer refused an object too often, will try again when it changes" resource=pods key=a retries=1 error="the consumer gave no reason"`,
	} {
		if len(lines) != 2 || !strings.Contains(lines[i], want) {
			t.Errorf("line %d lacks %s:\n%s", i, want, out.String())
		}
	}
}
