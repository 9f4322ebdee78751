// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package informer

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// Defaults of [Settings] and [Backoff].
const (
	defaultPageSize       = 500
	defaultSilence        = 150 * time.Second
	defaultInitialSilence = 10 * time.Second
	defaultFailing        = time.Minute
	defaultInitial        = 800 * time.Millisecond
	defaultMax            = 30 * time.Second
	defaultReset          = 10 * time.Second
	defaultDenied         = 5 * time.Second
	defaultPollInterval   = 30 * time.Second
	defaultCheckInterval  = 10 * time.Minute
	defaultAbsentAfter    = 10 * time.Minute
	longestInterval       = 24 * time.Hour
)

// Bounds of what servers and missing kinds can do to a delay.
const (
	longestRetryAfter = 5 * time.Minute
	longestMissing    = 10 * time.Second // a kind that is not installed is asked for again within this time
)

// Backoff is an exponential backoff over the whole cycle of listing and
// watching. The Retry-After of a server is obeyed when it is longer, up to five
// minutes. [Reflector.Resync] cuts a delay short, to Initial at least.
type Backoff struct {
	// Initial is the first delay; each further one is twice the one before.
	// Default 800 ms.
	Initial time.Duration

	// Max is the longest delay, before jitter. Default 30 s.
	Max time.Duration

	// Jitter adds up to this share of the delay at random: 1 doubles it at
	// most. Default 1; negative: none, nor to [Settings.PollInterval].
	Jitter float64

	// Reset is how long a watch must have lived for the next failure to count
	// as a first one. Default 10 s.
	Reset time.Duration

	// Denied is the least delay after an answer that only a person can change:
	// forbidden, unauthorized, a kind that is not installed or does not offer the
	// verb. For a kind that is not installed it is the delay each time, before jitter,
	// so that one that is installed later is found within ten seconds. Default 5 s.
	Denied time.Duration
}

// Complete fills in the defaults. It fails if a setting makes no sense. A second call
// changes nothing.
func (b *Backoff) Complete() error {
	for _, d := range []struct {
		name  string
		value *time.Duration
		def   time.Duration
	}{
		{"Initial", &b.Initial, defaultInitial},
		{"Max", &b.Max, defaultMax},
		{"Reset", &b.Reset, defaultReset},
		{"Denied", &b.Denied, defaultDenied},
	} {
		if *d.value < 0 {
			return fmt.Errorf("%s is %v: give a positive duration, or 0 for the default of %v", "Backoff."+d.name, *d.value, d.def)
		}
		if *d.value == 0 {
			*d.value = d.def
		}
	}
	if b.Max < b.Initial {
		if b.Max != defaultMax {
			return fmt.Errorf("Backoff.Max (%v) is shorter than Backoff.Initial (%v): raise Max or lower Initial", b.Max, b.Initial)
		}
		b.Max = b.Initial
	}
	if b.Jitter != b.Jitter || b.Jitter > 100 {
		return errors.New("Backoff.Jitter must be a share of the delay, such as 0.5, or negative for none")
	}
	if b.Jitter == 0 {
		b.Jitter = 1
	}
	return nil
}

// Delay returns how long to wait after the given number of failures in a row, jitter
// included. A server that asks for a longer delay in err gets it. Call Complete first.
func (b *Backoff) Delay(failure int, cause Cause, err error) time.Duration {
	base, limit := b.Initial, b.Max
	switch cause {
	case CauseForbidden, CauseUnauthorized, CauseNotSupported:
		base = max(base, b.Denied)
		limit = max(limit, base)
	case CauseNotInstalled:
		base = max(base, b.Denied)
		limit = base
	}
	d := base
	for i := 1; i < failure && d < limit; i++ {
		d *= 2
	}
	d = min(d, limit)
	if b.Jitter > 0 {
		d += time.Duration(rand.Float64() * b.Jitter * float64(d))
	}
	if cause == CauseNotInstalled {
		d = min(d, max(longestMissing, b.Denied))
	}
	if seconds, ok := apierrors.SuggestsClientDelay(err); ok {
		d = max(d, time.Duration(min(seconds, int(longestRetryAfter/time.Second)))*time.Second)
	}
	return d
}
