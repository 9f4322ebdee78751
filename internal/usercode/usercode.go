// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

// Package usercode calls functions of users. A panic of one becomes an error, and is
// reported. The rule is in the documentation of package resource.
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

// reportEvery is how often a panic of one function is logged at most.
const reportEvery = time.Minute

// Recover makes a panic of the function that defers it the error of that function.
// Whoever returns the error to a caller of ours leaves the report to it.
func Recover(function string, key store.Key, err *error) {
	if v := recover(); v != nil {
		*err = Error(function, key, v)
	}
}

// Error returns what a deferred function recovered as an error.
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
	next  time.Time // not before
}

// New returns a Panics for the resource of that name. A nil logger is slog.Default().
func New(name string, log *slog.Logger) *Panics {
	return &Panics{name: name, log: log, of: map[function]*reports{}}
}

// Call calls f, and returns its panic, which it reports. The site is that of
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

// Try is Call of a function that returns an error.
func (p *Panics) Try(function string, key store.Key, f func() error) (err error) {
	if panicked := p.Call(function, "", key, func() { err = f() }); panicked != nil {
		return panicked
	}
	return err
}

// Report counts the panic that err wraps, if it wraps one. It logs the first of each
// function, and after that one a minute.
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
	defer func() { _ = recover() }() // the logger is the user's as well
	log := p.log
	if log == nil {
		log = slog.Default()
	}
	log.Error("A function of the user panicked", "resource", p.name, "function", panicked.Function, "key", panicked.Key.String(),
		"error", err, "panics", count, "stack", string(panicked.Stack))
}

// due counts a panic of f, and reports whether it is to be logged.
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

// Add counts a panic that reaches the caller of ours.
func (p *Panics) Add() { p.count.Add(1) }

// Count returns how many panics there were.
func (p *Panics) Count() uint64 { return p.count.Load() }
