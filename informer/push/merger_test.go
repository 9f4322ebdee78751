// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package push_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"k8s.io/apimachinery/pkg/watch"

	"github.com/apiary-go/apiary/informer/internal/informertest"
	"github.com/apiary-go/apiary/informer/push"
)

// What was refused may have been taken all the same. So until something is accepted an
// object that was tried is one that the consumer may have: it is never passed over, and
// another one under its key is never just added. "!" is a Flush that the consumer
// refuses, "." one that it accepts.
func TestMergingAfterRefusals(t *testing.T) {
	for comes, want := range map[string][]string{
		"+a#A@1 ! -a#A@2 .":                            {"+a#A@1", "-a#A@1"},
		"+a#A@1 ! ~a#A@2 .":                            {"+a#A@1", "+a#A@2"},
		"+a#A@1 ! -a#A@2 +a#B@3 ! .":                   {"+a#A@1", "a#A@1=a#B@3", "a#A@1=a#B@3"},
		"+a#A@1 ! -a#A@2 +a#B@3 ! -a#B@4 +a#C@5 .":     {"+a#A@1", "a#A@1=a#B@3", "a#A@1=a#C@5"},
		"+a#A@1 ! -a#A@2 +a#B@3 ! -a#B@4 .":            {"+a#A@1", "a#A@1=a#B@3", "-a#A@1"},
		"+a#A@1 . -a#A@2 +a#B@3 ! -a#B@4 +a#C@5 .":     {"+a#A@1", "a#A@1=a#B@3", "a#A@1=a#C@5"},
		"+a#A@1 . -a#A@2 +a#B@3 ! -a#B@4 .":            {"+a#A@1", "a#A@1=a#B@3", "-a#A@1"},
		"+a#A@1 . -a#A@2 ! +a#B@3 .":                   {"+a#A@1", "-a#A@1", "a#A@1=a#B@3"},
		"+a#A@1 ! +b#B@2 ! ~a#A@3 .":                   {"+a#A@1", "+a#A@1 +b#B@2", "+a#A@3 +b#B@2"},
		"+a#A@1 ! -a#A@2 . +a#B@3 . ~a#B@4 .":          {"+a#A@1", "-a#A@1", "+a#B@3", "~a#B@4"},
		"+a#A@1 . ~a#A@2 ! -a#A@3 . -a#A@4 +c#C@5 . .": {"+a#A@1", "~a#A@2", "-a#A@1", "-a#A@4 +c#C@5"},
	} {
		synctest.Test(t, func(t *testing.T) {
			var got []string
			var answer error
			m, err := push.NewEventMerger("m", push.MergerConfig[informertest.Object]{ErrorHandler: func(error) {}},
				func(_ context.Context, b push.Batch[informertest.Object]) error {
					got = append(got, strings.TrimSuffix(describeBatch(b), " to "))
					return answer
				})
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			go func() { _ = m.Run(ctx) }()
			for _, w := range strings.Fields(comes) {
				switch w {
				case "!", ".":
					answer = nil
					if w == "!" {
						answer = errors.New("refused")
					}
					if err := m.Flush(ctx); !errors.Is(err, answer) {
						t.Fatal(err)
					}
				default:
					kinds := map[byte]watch.EventType{'+': watch.Added, '~': watch.Modified, '-': watch.Deleted}
					obj := informertest.ParseObject(w[1:])
					if err := m.Add(ctx, kinds[w[0]], informertest.MetaOf(obj), obj); err != nil {
						t.Fatal(err)
					}
				}
			}
			if !slices.Equal(got, want) {
				t.Errorf("%s: delivered %q, want %q", comes, got, want)
			}
		})
	}
}
