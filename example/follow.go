// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package main

import (
	"context"
	"errors"
	"time"

	"github.com/cilium/hive"
	"github.com/cilium/hive/cell"
	corev1 "k8s.io/api/core/v1"

	"github.com/apiary-go/apiary/resource"
)

// followCell follows services and pods, and shows which service selects which pods.
// It is the part of the application that a controller would have in its place: a
// consumer of events.
var followCell = cell.Module(
	"follow", "Shows services and the pods that each selects",

	cell.Config(outputConfig{Output: outputTable}),
	cell.ProvidePrivate(newPrinter, newTitle),
	cell.Invoke(registerFollower),
)

const (
	// calm is how long changes are collected before they are drawn.
	calm = 500 * time.Millisecond

	// firstCalm is the same before everything is known: a list that is still
	// growing is nothing to look at.
	firstCalm = 2 * time.Second

	// outputGrace is how long the end waits for the output to be taken.
	outputGrace = time.Second

	// tick is how often a terminal is drawn without a reason, for its clock and for
	// marks to fade.
	tick = time.Second
)

var errBlocked = errors.New("the output is blocked: whoever should read it does not")

type followerParams struct {
	cell.In

	Lifecycle  cell.Lifecycle
	Shutdowner hive.Shutdowner
	Services   resource.Resource[*corev1.Service]
	Pods       resource.Resource[*corev1.Pod]
	Health     *healthBoard
	Printer    printer
	Title      title
}

// follower is one goroutine that receives all events, so what it keeps needs no
// lock.
type follower struct {
	followerParams

	join           *join
	servicesSynced bool
	podsSynced     bool
	healthShown    map[string]healthReport

	drawTimer
}

// drawTimer fires when it is time to draw, if due is not zero.
type drawTimer struct {
	timer *time.Timer
	due   time.Time
}

// registerFollower has the follower run from the start of the hive to its stop. It
// starts nothing itself: hive's inspection command calls it too.
func registerFollower(p followerParams) {
	f := &follower{followerParams: p, join: newJoin(), healthShown: map[string]healthReport{}}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	p.Lifecycle.Append(cell.Hook{
		OnStart: func(cell.HookContext) error {
			go func() {
				defer close(ended)
				if err := f.run(ctx); err != nil {
					p.Shutdowner.Shutdown(hive.ShutdownWithError(err))
				}
			}()
			return nil
		},
		OnStop: func(cell.HookContext) error {
			cancel()
			// Not all the time there is: hive skips the hooks that come after.
			select {
			case <-ended:
				return nil
			case <-time.After(outputGrace):
				return errBlocked
			}
		},
	})
}

// run receives events until ctx ends, or until it cannot show them.
func (f *follower) run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // ends the subscriptions, whatever the reason to return

	f.timer = time.NewTimer(calm)
	defer f.timer.Stop()
	f.due = time.Now().Add(calm)

	services := f.Services.Events(ctx)
	pods := f.Pods.Events(ctx)
	for services != nil || pods != nil {
		var err error
		select {
		case event, open := <-services:
			if !open {
				services = nil
				continue
			}
			err = f.handleService(event)
		case event, open := <-pods:
			if !open {
				pods = nil
				continue
			}
			err = f.handlePod(event)
		case <-f.Health.changed:
			err = f.handleHealth()
		case <-f.timer.C:
			err = f.draw()
		}
		if err != nil {
			return err
		}
	}
	return f.Printer.close(f.picture())
}

// handleService takes in an event about a service. Done says that the event was
// dealt with; only then comes the next one of the same service. Nothing here is
// worth a retry, so it is always without an error: one that there might be is about
// the output, and ends everything.
func (f *follower) handleService(event resource.Event[*corev1.Service]) error {
	defer event.Done(nil)
	switch event.Kind {
	case resource.Sync:
		f.servicesSynced = true
		return f.handleSync()
	case resource.Upsert:
		return f.show(f.join.upsertService(event.Object))
	case resource.Delete:
		return f.show(f.join.deleteService(event.Key))
	}
	return nil
}

func (f *follower) handlePod(event resource.Event[*corev1.Pod]) error {
	defer event.Done(nil)
	switch event.Kind {
	case resource.Sync:
		f.podsSynced = true
		return f.handleSync()
	case resource.Upsert:
		return f.show(f.join.upsertPod(event.Object))
	case resource.Delete:
		return f.show(f.join.deletePod(event.Key))
	}
	return nil
}

// handleSync is called when all services, or all pods, have been seen once.
func (f *follower) handleSync() error {
	if !f.servicesSynced || !f.podsSynced {
		return nil
	}
	return f.show([]change{{Change: synced}})
}

// handleHealth takes in what the parts of the application say of themselves.
func (f *follower) handleHealth() error {
	var changes []change
	for _, report := range f.Health.all() {
		if report.sameAs(f.healthShown[report.Scope]) || report.Level == cell.StatusStopped {
			continue
		}
		f.healthShown[report.Scope] = report
		level := "ok"
		if report.Level == cell.StatusDegraded {
			level = "degraded"
			f.drawIn(calm)
		}
		changes = append(changes, change{Change: healthChanged, Component: report.Scope, Level: level, Message: report.String()})
	}
	return f.show(changes)
}

// show tells the printer of changes, and sees to it that they are drawn soon.
func (f *follower) show(changes []change) error {
	if len(changes) == 0 {
		return nil
	}
	now := time.Now()
	for i := range changes {
		changes[i].Time = now
	}
	if f.servicesSynced && f.podsSynced {
		f.drawIn(calm)
	} else {
		f.drawIn(firstCalm)
	}
	return f.Printer.changed(changes)
}

// drawIn has the timer fire after some time, unless that is to be sooner anyway.
func (t *drawTimer) drawIn(wait time.Duration) {
	due := time.Now().Add(wait)
	if t.due.IsZero() || due.Before(t.due) {
		t.due = due
		t.timer.Reset(wait)
	}
}

func (f *follower) draw() error {
	f.due = time.Time{}
	if err := f.Printer.draw(f.picture()); err != nil {
		return err
	}
	if t, ok := f.Printer.(interface{ ticks() bool }); ok && t.ticks() {
		f.drawIn(tick)
	}
	return nil
}

func (f *follower) picture() picture {
	p := picture{
		Time:           time.Now(),
		Title:          f.Title.Text,
		Hint:           f.Title.Hint,
		Services:       f.join.rows(),
		PodCount:       f.join.podCount,
		ServicesSynced: f.servicesSynced,
		PodsSynced:     f.podsSynced,
	}
	for _, report := range f.Health.all() {
		if report.Level == cell.StatusDegraded {
			p.Problems = append(p.Problems, report)
		}
	}
	return p
}
