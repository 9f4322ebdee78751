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

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/discovery"

	"github.com/apiary-go/apiary/informer"
	"github.com/apiary-go/apiary/status"
)

// waitDrawDelay is how long changes are collected before they are drawn.
const waitDrawDelay = 100 * time.Millisecond

// waiter is one goroutine that follows the objects and shows their progress.
type waiter struct {
	server   discovery.DiscoveryInterface
	host     string
	engine   *status.Engine
	board    *board
	printer  progressPrinter
	failFast bool

	drawTimer
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

// run waits until all objects meet the condition, one has failed, or ctx ends, and
// shows the outcome. The error is nil if the condition is met, and otherwise an
// [*exitError].
func (w *waiter) run(ctx context.Context) error {
	if err := w.checkServer(ctx); err != nil {
		return err
	}
	w.timer = time.NewTimer(tick)
	defer w.timer.Stop()
	w.timer.Stop()
	if err := w.draw(); err != nil {
		return err
	}
	following, end := context.WithCancel(context.Background()) // outlives ctx, for the final statuses
	watch, err := w.engine.Watch(following, w.ids()...)
	if err != nil {
		end()
		return &exitError{code: exitUse, err: err}
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
		case <-w.timer.C:
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

// checkServer fails if the server does not answer. Any answer will do.
func (w *waiter) checkServer(ctx context.Context) error {
	err := w.server.RESTClient().Get().AbsPath("/version").MaxRetries(0).Do(ctx).Error()
	var answer apierrors.APIStatus
	if err == nil || errors.As(err, &answer) {
		return nil
	}
	var signal interrupted
	switch cause := context.Cause(ctx); {
	case errors.As(cause, &signal):
		return w.finish(cause)
	case cause != nil:
		return &exitError{code: exitUse, err: fmt.Errorf("no answer from %s: %w", w.host, cause)}
	}
	return &exitError{code: exitUse, err: fmt.Errorf("no answer from %s: %s", w.host, informer.Explain(err))}
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
		w.drawIn(waitDrawDelay)
	}
}

// decided reports whether the wait can end.
func (w *waiter) decided() bool {
	return w.board.done() || w.failFast && w.board.failed > 0
}

func (w *waiter) draw() error {
	w.due = time.Time{}
	if err := w.printer.draw(w.board); err != nil {
		return &exitError{code: exitUse, err: err}
	}
	if w.printer.ticks() {
		w.drawIn(tick)
	}
	return nil
}

// finish shows the outcome. The cause is why the wait ended, or nil if it was decided.
func (w *waiter) finish(cause error) error {
	result := &exitError{said: true}
	var signal interrupted
	switch {
	case w.board.done():
		result, cause = nil, nil
	case errors.As(cause, &signal):
		result.code = signal.code()
	case cause != nil && !errors.Is(cause, errTimeout):
		result.code = exitUse
	case w.board.failed > 0:
		result.code = exitFailed
		if cause == nil {
			cause = errors.New("failed")
		}
	default:
		result.code = exitTimeout
	}
	outcome := w.board.allThere()
	if cause != nil {
		outcome = fmt.Sprintf("%v: %s", cause, w.board.summary())
	}
	if err := w.printer.close(w.board, outcome); err != nil {
		return &exitError{code: exitUse, err: err}
	}
	if result == nil {
		return nil // not a nil *exitError
	}
	result.err = errors.New(outcome)
	return result
}
