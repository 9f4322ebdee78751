// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package poller_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"testing"
	"testing/synctest"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/apiary-go/apiary/store"
	"github.com/apiary-go/apiary/store/internal/storetest"
	"github.com/apiary-go/apiary/store/poller"
)

func TestPollerPeriodIsFromEndToStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := poll(t, &collection{takes: 3 * time.Second}, nil)
		r.after(30 * time.Second)
		r.wantPolls(0, 13, 26)
	})
}

func TestPollerDefaults(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := poll(t, &collection{}, func(cfg *poller.Config[storetest.Job]) { cfg.Period, cfg.Jitter = 0, 0 })
		r.after(time.Hour)
		least := math.Inf(1)
		most := 0.0
		for i, at := range r.polls[1:] {
			pause := (at - r.polls[i]).Seconds()
			least, most = min(least, pause), max(most, pause)
		}
		if least < 30 || least > 31 || most < 32 || most > 33 {
			t.Errorf("pauses of %v to %v s", least, most)
		}
		r.takes = 31 * time.Second
		r.after(65 * time.Second)
		if !errors.Is(r.Info().Err, context.DeadlineExceeded) {
			t.Errorf("after 31 s: %v", r.Info().Err)
		}
	})
}

func TestPollerHugePeriod(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := poll(t, &collection{}, func(cfg *poller.Config[storetest.Job]) { cfg.Period, cfg.Jitter = math.MaxInt64, 100 })
		r.after(time.Hour)
		r.wantPolls(0)
	})
}

func TestPollerBackoff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := poll(t, &collection{err: storetest.ErrJob}, func(cfg *poller.Config[storetest.Job]) { cfg.MaxBackoff = 7 * time.Second })
		r.after(28 * time.Second)
		r.wantPolls(0, 1, 3, 7, 14, 21, 28)
		r.err = nil
		r.after(7 * time.Second)
		r.err = storetest.ErrJob
		r.after(12 * time.Second)
		r.wantPolls(0, 1, 3, 7, 14, 21, 28, 35, 45, 46)
		if info := r.Info(); info.Failures != 9 || len(r.errs) != 9 || !errors.Is(info.Err, storetest.ErrJob) {
			t.Errorf("info %+v, %d errors", info, len(r.errs))
		}
	})
}

func TestPollerBackoffDefaults(t *testing.T) {
	for _, tt := range []struct {
		period time.Duration
		want   []float64
	}{
		{500 * time.Millisecond, []float64{0, .5, 1.5, 3.5, 7.5, 15.5, 31.5, 63.5, 123.5, 183.5}},
		{100 * time.Second, []float64{0, 1, 3, 7, 15, 31, 63, 127}},
	} {
		synctest.Test(t, func(t *testing.T) {
			r := poll(t, &collection{err: storetest.ErrJob}, func(cfg *poller.Config[storetest.Job]) { cfg.Period = tt.period })
			r.after(200 * time.Second)
			r.wantPolls(tt.want...)
			if tt.period > time.Minute {
				r.after(200 * time.Second)
				r.wantPolls(append(tt.want, 227, 327)...)
			}
		})
	}
}

func TestPollerObeysRetryAfter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := poll(t, &collection{err: fmt.Errorf("list: %w", apierrors.NewTooManyRequests("busy", 120))}, nil)
		r.after(119 * time.Second)
		r.Poll()
		r.wantPolls(0)
		r.after(time.Second)
		r.wantPolls(0, 120)
	})
}

func TestPollerTimeoutCoversTheIterator(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &collection{}
		r := poll(t, c, func(cfg *poller.Config[storetest.Job]) {
			cfg.Timeout = 5 * time.Second
			cfg.Get = func(ctx context.Context) (poller.Enumerator[storetest.Job], error) {
				return poller.Enumerator[storetest.Job]{Objects: func(yield func(storetest.Job, error) bool) {
					_ = yield(storetest.NewJob("a", 1), nil)
					<-ctx.Done() // and ends, as if that were all
				}}, nil
			}
		})
		storetest.Must(t, r.store.Apply(t.Context(), storetest.MetaOfJob("z", "1"), storetest.NewJob("z", 1)))
		r.after(5 * time.Second)
		r.wantChanges("added a", "added z")
		if !errors.Is(r.Info().Err, context.DeadlineExceeded) {
			t.Errorf("the error is %v", r.Info().Err)
		}
	})
}

// TestPollerTimeoutOfDeafGet has a Get that ignores its ctx, and succeeds too late.
func TestPollerTimeoutOfDeafGet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := poll(t, &collection{deaf: true, takes: time.Minute, jobs: []storetest.Job{storetest.NewJob("a", 1)}}, nil)
		r.after(time.Minute)
		r.wantChanges()
		if !errors.Is(r.Info().Err, context.DeadlineExceeded) {
			t.Errorf("the error is %v", r.Info().Err)
		}
		r.stop(errStop)
		r.after(time.Minute + time.Second)
		if len(r.ended) == 0 {
			t.Error("Run goes on")
		}
	})
}

func TestPollerPoll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := poll(t, &collection{takes: 2 * time.Second}, nil)
		r.after(time.Second)
		r.Poll() // within a poll: another one after it
		r.Poll()
		r.after(time.Second)
		r.wantPolls(0, 2)
		r.after(3 * time.Second)
		r.Poll()
		synctest.Wait()
		r.wantPolls(0, 2, 5)
		r.err = storetest.ErrJob
		r.after(2 * time.Second)
		r.Poll() // within a backoff: not before it has passed
		r.after(2 * time.Second)
		r.wantPolls(0, 2, 5, 8)
		r.err = nil
		r.after(9 * time.Second) // that poll was the one asked for
		r.wantPolls(0, 2, 5, 8)
	})
}

func TestPollerPollBeforeRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &collection{since: time.Now()}
		s, err := store.New(store.Config[storetest.Job]{})
		storetest.Must(t, err)
		p, err := poller.New(poller.Config[storetest.Job]{Get: c.get, Sink: s})
		storetest.Must(t, err)
		p.Poll()
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		if err := p.Run(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		if len(c.polls) != 1 {
			t.Errorf("%d polls", len(c.polls))
		}
	})
}

func TestPollerStops(t *testing.T) {
	for _, tt := range []struct {
		name  string
		takes time.Duration
		err   error
	}{
		{"within a call", time.Hour, nil},
		{"within a pause", 0, nil},
		{"within a backoff", 0, apierrors.NewTooManyRequests("busy", 1000)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := poll(t, &collection{takes: tt.takes, err: tt.err}, nil)
				r.stop(errStop)
				if err := <-r.ended; err != errStop || time.Since(r.since) != 0 {
					t.Errorf("ended with %v after %v", err, time.Since(r.since))
				}
				before := r.Info()
				if err := r.Run(t.Context()); err == nil || errors.Is(err, errStop) {
					t.Errorf("a second Run: %v", err)
				}
				r.after(time.Hour)
				if r.Info() != before || tt.err == nil && before.Failures != 0 {
					t.Errorf("info %+v, later %+v", before, r.Info())
				}
			})
		})
	}
}
