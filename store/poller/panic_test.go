// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package poller_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/apiary-go/apiary/internal/logtest"
	"github.com/apiary-go/apiary/store"
	"github.com/apiary-go/apiary/store/internal/storetest"
	"github.com/apiary-go/apiary/store/poller"
)

// faultySink panics where call does.
type faultySink struct {
	store.Sink[storetest.Job]
	call func(string)
}

func (s faultySink) Begin(ctx context.Context, pass store.Pass) error {
	s.call("Begin of the sink")
	return s.Sink.Begin(ctx, pass)
}

func (s faultySink) Has(meta store.Meta) bool {
	s.call("Has of the sink")
	return s.Sink.Has(meta)
}

func (s faultySink) Apply(ctx context.Context, meta store.Meta, job storetest.Job) error {
	s.call("Apply of the sink")
	return s.Sink.Apply(ctx, meta, job)
}

func (s faultySink) Page(ctx context.Context, page store.PageInfo) error {
	s.call("Page of the sink")
	return s.Sink.Page(ctx, page)
}

func (s faultySink) Commit(ctx context.Context, version string) error {
	s.call("Commit of the sink")
	return s.Sink.Commit(ctx, version)
}

func (s faultySink) Abort(pass store.Pass, cause error) {
	s.call("Abort of the sink")
	s.Sink.Abort(pass, cause)
}

// A poll in which a function of the user panics has failed, and the next one is made.
// The panic is logged with the key and the stack.
func TestPanicsOfUsers(t *testing.T) {
	for function, key := range map[string]string{
		"Get": "", "iterator of Get": "", "Key": "", "OnError": "", "Begin of the sink": "", "Has of the sink": "a",
		"Apply of the sink": "a", "Page of the sink": "", "Commit of the sink": "", "Abort of the sink": "",
	} {
		t.Run(function, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var out bytes.Buffer
				logtest.SetDefault(t, slog.NewTextHandler(&out, nil))
				left := map[string]int{function: 1}
				if function == "OnError" || function == "Abort of the sink" {
					left["Commit of the sink"] = 1
				}
				fault := func(called string) {
					if left[called] > 0 {
						left[called]--
						panic("fault in " + called)
					}
				}
				c := &collection{version: "1", jobs: []storetest.Job{{Name: "a"}, {Name: "b"}}}
				r := poll(t, c, func(cfg *poller.Config[storetest.Job]) {
					cfg.Sink = faultySink{cfg.Sink, fault}
					cfg.Get = func(ctx context.Context) (poller.Enumerator[storetest.Job], error) {
						fault("Get")
						state, err := c.get(ctx)
						objects := state.Objects
						state.Objects = func(yield func(storetest.Job, error) bool) {
							fault("iterator of Get")
							objects(yield)
						}
						return state, err
					}
					cfg.Key = func(job storetest.Job) (store.Key, error) { fault("Key"); return storetest.JobKey(job) }
					told := cfg.OnError
					cfg.OnError = func(err error) { told(err); fault("OnError") }
				})
				r.after(time.Minute)
				if info := r.Info(); info.Version != "1" || info.Objects != 2 || info.Failures != 1 || info.Err != nil || left[function] > 0 {
					t.Errorf("%+v, %v", info, left)
				}
				for _, want := range []string{"resource=jobs", "key=" + key, "fault in " + function, "panic_test.go:", "stack="} {
					if !strings.Contains(out.String(), want) {
						t.Errorf("%q is missing in the log", want)
					}
				}
				var panicked *store.PanicError
				if len(r.errs) != 1 || !errors.As(r.errs[0], &panicked) {
					t.Errorf("told %v", r.errs)
				} else if _, also := left["Commit of the sink"]; !also && panicked.Function != function {
					t.Errorf("told of a panic of %s", panicked.Function)
				}
			})
		})
	}
}
