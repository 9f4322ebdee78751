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

// Bounds of delays.
const (
	longestRetryAfter = 5 * time.Minute
	longestMissing    = 10 * time.Second // for a kind that is not installed
)

// Backoff spaces requests after failures: exponentially, over the whole cycle of listing and
// watching. A longer Retry-After of a server takes precedence, up to five minutes.
// [Reflector.Resync] cuts a delay short, to Initial at least.
type Backoff struct {
	// Initial is the first delay. Each further one is twice the one before. Default: 800ms.
	Initial time.Duration

	// Max is the longest delay, before jitter. Default: 30s.
	Max time.Duration

	// Jitter adds up to this share of the delay at random: 1 doubles it at most.
	// Default: 1. Negative: no jitter, nor for [Settings.PollInterval].
	Jitter float64

	// Reset is how long a watch must have lived for the next failure to count as the first
	// one. Default: 10s.
	Reset time.Duration

	// Denied replaces a shorter Initial after a failure that lasts until a person changes
	// something: [CauseForbidden], [CauseUnauthorized], [CauseNotSupported] and
	// [CauseNotInstalled]. All other causes begin with Initial, [CauseCredentials] and
	// [CauseNotAPIServer] among them. For CauseNotInstalled the delay does not grow, and is
	// at most 10s, or Denied if that is longer. So a kind is found soon after it is
	// installed. Default: 5s.
	Denied time.Duration
}

// Complete fills in the defaults. It returns an error if a setting makes no sense. A second
// call changes nothing.
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

// Delay returns the delay after the given number of failures in a row, with jitter. If err
// has a longer Retry-After of a server, it returns that, up to five minutes. Call Complete
// first.
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
