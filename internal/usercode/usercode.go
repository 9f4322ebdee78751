// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

// Package usercode calls functions of users. It turns a panic into an error, and reports
// it. The documentation of package resource has the rule.
package usercode

import (
	"errors"
	"log/slog"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/apiary-go/apiary/store"
)

// reportEvery is the minimum interval between two logs of panics of one function.
const reportEvery = time.Minute

// Recover turns a panic of the function that defers it into the error of that function.
// It does not report the panic: pass the error to [Panics.Report], unless a user gets it
// as the error of a call.
func Recover(function string, key store.Key, err *error) {
	if v := recover(); v != nil {
		*err = Error(function, key, v)
	}
}

// Error returns the error for a value that a deferred function has recovered.
func Error(function string, key store.Key, recovered any) error {
	return &store.PanicError{Function: function, Key: key, Value: recovered, Stack: debug.Stack()}
}

// Panics counts the panics of the functions that one resource calls, and logs them.
type Panics struct {
	name  string
	log   *slog.Logger
	count atomic.Uint64

	mu sync.Mutex
	of map[function]*reports
}

// function is a function of the user. There are few in a program.
type function struct{ name, site string }

type reports struct {
	count uint64
	next  time.Time // no log before this time
}

// New returns a Panics for the resource with this name. If log is nil, slog.Default() is
// used.
func New(name string, log *slog.Logger) *Panics {
	return &Panics{name: name, log: log, of: map[function]*reports{}}
}

// Call calls f. It reports a panic of f and returns it as an error. site is the Site of the
// [store.PanicError].
func (p *Panics) Call(function, site string, key store.Key, f func()) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = &store.PanicError{Resource: p.name, Function: function, Site: site, Key: key, Value: v, Stack: debug.Stack()}
			p.Report(err)
		}
	}()
	f()
	return nil
}

// Try is like Call for a function that returns an error.
func (p *Panics) Try(function string, key store.Key, f func() error) (err error) {
	if panicked := p.Call(function, "", key, func() { err = f() }); panicked != nil {
		return panicked
	}
	return err
}

// Report counts the panic that err wraps, if any. For each function it logs the first
// panic, and then at most one a minute.
func (p *Panics) Report(err error) {
	var panicked *store.PanicError
	if !errors.As(err, &panicked) {
		return
	}
	p.Add()
	count, due := p.due(function{panicked.Function, panicked.Site})
	if !due {
		return
	}
	defer func() { _ = recover() }() // the logger is user code, too
	log := p.log
	if log == nil {
		log = slog.Default()
	}
	log.Error("A function of the user panicked", "resource", p.name, "function", panicked.Function, "key", panicked.Key.String(),
		"error", err, "panics", count, "stack", string(panicked.Stack))
}

// due counts a panic of f, and returns true if it must be logged.
func (p *Panics) due(f function) (count uint64, due bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	r := p.of[f]
	if r == nil {
		r = &reports{}
		p.of[f] = r
	}
	r.count++
	now := time.Now()
	if due = !now.Before(r.next); due {
		r.next = now.Add(reportEvery)
	}
	return r.count, due
}

// Add counts a panic that the caller of the library gets.
func (p *Panics) Add() { p.count.Add(1) }

// Count returns the number of panics.
func (p *Panics) Count() uint64 { return p.count.Load() }
