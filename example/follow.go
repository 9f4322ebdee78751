// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package main

import (
	"context"
	"time"

	"github.com/cilium/hive"
	"github.com/cilium/hive/cell"
	corev1 "k8s.io/api/core/v1"

	"github.com/apiary-go/apiary/internal/cli"
	"github.com/apiary-go/apiary/resource"
)

// followCell shows which service selects which pods. A controller would have its own
// consumer of events in this place.
var followCell = cell.Module(
	"follow", "Shows services and the pods that each selects",

	cell.Config(outputConfig{Output: outputTable}),
	cell.ProvidePrivate(newPrinter, newTitle),
	cell.Invoke(registerFollower),
)

const (
	// drawDelay is how long changes are collected before they are drawn.
	drawDelay = 500 * time.Millisecond

	// firstDrawDelay is the same until services and pods are synced. It avoids
	// drawing a list that still grows.
	firstDrawDelay = 2 * time.Second
)

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

// follower is one goroutine that receives all events. Its state needs no lock.
type follower struct {
	followerParams

	join           *join
	servicesSynced bool
	podsSynced     bool
	healthShown    map[string]healthReport

	timer *cli.DrawTimer
}

// registerFollower runs the follower between start and stop of the hive. It starts
// nothing itself, since the inspection command of hive calls it too.
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
			// Not the whole stop timeout: hive would skip the hooks that follow.
			select {
			case <-ended:
				return nil
			case <-time.After(cli.OutputGrace):
				return cli.ErrBlocked
			}
		},
	})
}

// run receives events until ctx ends or the output fails.
func (f *follower) run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // ends the subscriptions

	f.timer = cli.NewDrawTimer()
	defer f.timer.Stop()
	f.timer.DrawIn(drawDelay)

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
		case <-f.timer.C():
			err = f.draw()
		}
		if err != nil {
			return err
		}
	}
	return f.Printer.close(f.picture())
}

// handleService handles an event of a service. Done ends the event; the next one of the
// same service follows. There is no error to retry: an error of the output ends the
// program.
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

// handleSync is called when each service, or each pod, has had its first event.
func (f *follower) handleSync() error {
	if !f.servicesSynced || !f.podsSynced {
		return nil
	}
	return f.show([]change{{Change: synced}})
}

// handleHealth shows changes of the health of the cells.
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
			f.timer.DrawIn(drawDelay)
		}
		changes = append(changes, change{Change: healthChanged, Component: report.Scope, Level: level, Message: report.String()})
	}
	return f.show(changes)
}

// show passes changes to the printer, and has them drawn soon.
func (f *follower) show(changes []change) error {
	if len(changes) == 0 {
		return nil
	}
	now := time.Now()
	for i := range changes {
		changes[i].Time = now
	}
	if f.servicesSynced && f.podsSynced {
		f.timer.DrawIn(drawDelay)
	} else {
		f.timer.DrawIn(firstDrawDelay)
	}
	return f.Printer.changed(changes)
}

func (f *follower) draw() error {
	f.timer.Drawn()
	if err := f.Printer.draw(f.picture()); err != nil {
		return err
	}
	if t, ok := f.Printer.(interface{ ticks() bool }); ok && t.ticks() {
		f.timer.DrawIn(cli.Tick)
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
