// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"syscall"
	"time"

	corev1client "k8s.io/client-go/kubernetes/typed/core/v1"

	"github.com/apiary-go/apiary/internal/cli"
	"github.com/apiary-go/apiary/status"
)

// drawDelay is how long changes are collected before they are drawn.
const drawDelay = 100 * time.Millisecond

// waiter is one goroutine that follows the objects and shows their progress.
type waiter struct {
	engine   *status.Engine
	events   corev1client.EventsGetter
	board    *board
	printer  progressPrinter
	failFast bool
	timer    *cli.DrawTimer
}

// errTimeout is the cause of a context that has timed out.
var errTimeout = errors.New("timed out")

// interrupted is the cause of a context that a signal ended.
type interrupted struct{ os.Signal }

func (i interrupted) Error() string { return "interrupted" }

// code returns the exit code: 130 for Ctrl-C.
func (i interrupted) code() int {
	if number, ok := i.Signal.(syscall.Signal); ok {
		return 128 + int(number)
	}
	return 128 + int(syscall.SIGINT)
}

// run waits until all objects meet the goal, one has failed, or ctx ends, and
// shows the outcome. The error is nil if the goal is met, and otherwise an
// [*exitError].
func (w *waiter) run(ctx context.Context) error {
	w.timer = cli.NewDrawTimer()
	defer w.timer.Stop()
	if err := w.draw(); err != nil {
		return err
	}
	following, end := context.WithCancel(context.Background()) // outlives ctx, for the final statuses
	watch, err := w.engine.Watch(following, w.ids()...)
	if err != nil {
		end()
		return useError(err)
	}
	events := make(chan status.Event)
	var receiving sync.WaitGroup
	receiving.Go(func() {
		defer close(events)
		for event := range watch.Events() {
			select {
			case events <- event:
			case <-following.Done():
			}
		}
	})
	defer func() {
		end()
		receiving.Wait()
		watch.Close()
	}()
	for {
		select {
		case event, open := <-events:
			if !open { // the engine was stopped
				return w.finish(watch.Err())
			}
			if event.Type == status.ResourceUpdate {
				w.take(event.Resource)
			}
		case <-w.timer.C():
			if err := w.draw(); err != nil {
				return err
			}
		case <-ctx.Done():
			w.takeAll(watch)
			return w.finish(context.Cause(ctx))
		}
		switch {
		case w.failFast && w.board.failed > 0: // also if it was removed since
			return w.finish(nil)
		case w.board.done():
			// An event has one object at an earlier moment. Check all objects at one moment.
			if w.takeAll(watch); w.decided() {
				return w.finish(nil)
			}
		}
	}
}

func (w *waiter) ids() []status.ID {
	ids := make([]status.ID, len(w.board.rows))
	for i, row := range w.board.rows {
		ids[i] = row.id
	}
	return ids
}

// takeAll handles the latest statuses of all objects.
func (w *waiter) takeAll(watch *status.Watch) {
	for _, s := range watch.Statuses() {
		w.take(s)
	}
}

func (w *waiter) take(s status.ObjectStatus) {
	if row := w.board.take(s); row != nil {
		w.printer.changed(w.board, row)
		w.timer.DrawIn(drawDelay)
	}
}

// decided reports whether the wait can end.
func (w *waiter) decided() bool {
	return w.board.done() || w.failFast && w.board.failed > 0
}

func (w *waiter) draw() error {
	w.timer.Drawn()
	if err := w.printer.draw(w.board); err != nil {
		return useError(err)
	}
	if w.printer.ticks() {
		w.timer.DrawIn(cli.Tick)
	}
	return nil
}

// finish shows the outcome. The cause is why the wait ended, or nil if it was decided.
func (w *waiter) finish(cause error) error {
	end := ending{result: resultMet, text: w.board.allThere()}
	var signal interrupted
	switch {
	case w.board.done():
		cause = nil
	case errors.As(cause, &signal):
		end.result, end.code = resultInterrupted, signal.code()
	case cause != nil && !errors.Is(cause, errTimeout):
		end.result, end.code = resultError, exitUse
	case w.board.failed > 0:
		end.result, end.code = resultFailed, exitFailed
		if cause == nil {
			cause = errors.New("failed")
		}
	default:
		end.result, end.code = resultTimeout, exitTimeout
	}
	if end.code != 0 {
		end.text = fmt.Sprintf("%v: %s", cause, w.board.summary())
		w.explain(&end)
	}
	if err := w.printer.close(w.board, end); err != nil {
		return useError(err)
	}
	if end.code == 0 {
		return nil // not a nil *exitError
	}
	return &exitError{code: end.code, err: errors.New(end.text), said: true}
}

// explain finds the Pods and the events behind the objects that do not meet the goal. A
// signal or an error leaves no time to ask for events.
func (w *waiter) explain(end *ending) {
	ctx, cancel := context.WithTimeout(context.Background(), whyTime)
	defer cancel()
	e := explainer{events: w.events}
	if end.code != exitFailed && end.code != exitTimeout {
		e.events = nil
	}
	for _, row := range w.board.missing() {
		row.why = e.explain(ctx, row.status)
	}
	end.problem = e.problem
}
