// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package resource

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"strings"
	"testing"
	"time"
)

// forget receives an event and drops it.
//
//go:noinline
func forget(r *rig, ctx context.Context) {
	events := r.view.Events(ctx)
	r.sync("a")
	take(r.t, events)
	go expectSilently(events)
}

func expectSilently(events <-chan podEvent) {
	for e := range events {
		e.Done(nil)
	}
}

func TestForgottenDoneIsReported(t *testing.T) {
	reports := make(chan ForgottenDone, 1)
	r := startRig(t, WithName("pods"), WithForgottenDone(func(f ForgottenDone) { reports <- f }))
	forget(r, t.Context())
	r.upsert("a")
	report := collect(t, reports)
	if report.Kind != Upsert || report.Key != podKey("a") || report.Resource != "pods" ||
		!regexp.MustCompile(`forgotten_test\.go:\d+$`).MatchString(report.Site) {
		t.Fatalf("got %+v", report)
	}
	// The key is free again: the next state is emitted, and done.
	for stats := r.view.Stats(); stats.Events.OK < 2; stats = r.view.Stats() {
		runtime.Gosched()
	}
	if stats := r.view.Stats(); stats.Events.Forgotten != 1 {
		t.Fatalf("counted %+v", stats.Events)
	}
}

// collect runs the garbage collector until there is a report.
func collect(t *testing.T, reports <-chan ForgottenDone) ForgottenDone {
	deadline := time.After(30 * time.Second)
	for {
		runtime.GC()
		select {
		case report := <-reports:
			return report
		case <-deadline:
			t.Fatal("no report")
		default:
			runtime.Gosched()
		}
	}
}

// After the end of a subscription nobody misses a Done.
func TestNothingIsForgottenAfterTheEnd(t *testing.T) {
	reports := make(chan ForgottenDone, 10)
	r := startRig(t, WithForgottenDone(func(f ForgottenDone) { reports <- f }))
	ctx, cancel := context.WithCancel(t.Context())
	events := r.view.Events(ctx)
	r.sync("a", "b", "c")
	func() { take(t, events) }()
	cancel()
	for range events {
	}
	for r.view.Stats().Subscribers != nil {
		runtime.Gosched()
	}
	// Another event that is forgotten tells when the collector has been through.
	other := r.view.Events(t.Context())
	func() { take(t, other) }()
	report := collect(t, reports)
	for range 5 {
		runtime.GC()
	}
	if len(reports) != 0 {
		t.Fatalf("reports %v, then %v", report, <-reports)
	}
}

const panicEnv = "APIARY_TEST_FORGOTTEN_DONE"

func TestForgottenDonePanics(t *testing.T) {
	if os.Getenv(panicEnv) != "" {
		r := startRig(t, WithName("pods"))
		forget(r, t.Context())
		collect(t, nil)
		return
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestForgottenDonePanics$")
	cmd.Env = append(os.Environ(), panicEnv+"=1")
	out, err := cmd.CombinedOutput()
	want := `panic: resource pods: Done was not called on the upsert event of key "ns/a" by the subscriber of `
	if err == nil || !strings.Contains(string(out), want) || !strings.Contains(string(out), "forgotten_test.go:") {
		t.Fatalf("want %q, got %v:\n%s", want, err, out)
	}
}

// Events that had their Done are not forgotten, however many there were at once.
func TestManyDoneAreNotForgotten(t *testing.T) {
	reports := make(chan ForgottenDone, 10)
	r := startRig(t, WithForgottenDone(func(f ForgottenDone) { reports <- f }))
	events := r.view.Events(t.Context())
	const n = 2 * spareTokens
	r.begin()
	for i := range n {
		r.upsert(fmt.Sprint("pod-", i))
	}
	func() {
		var held []podEvent
		for range n {
			held = append(held, take(t, events))
		}
		for _, e := range held {
			e.Done(nil)
		}
	}()
	for range 3 {
		runtime.GC()
	}
	// An event that is forgotten tells when the collector has been through.
	r.upsert("forgotten")
	func() { take(t, events) }()
	r.upsert("next")
	take(t, events).Done(nil)
	report := collect(t, reports)
	if report.Key != podKey("forgotten") || len(reports) != 0 {
		t.Fatalf("reported %v, and %d more", report, len(reports))
	}
}
