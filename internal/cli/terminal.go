// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package cli

import (
	"errors"
	"io"
	"os"
	"time"

	"golang.org/x/term"
)

// Control sequences of the terminal. The alternate screen keeps the ordinary screen
// unchanged. A picture is drawn over the previous one without clearing, so it does not
// flicker.
const (
	EnterScreen = "\x1b[?1049h\x1b[H\x1b[2J"
	LeaveScreen = "\x1b[?1049l"
	Home        = "\x1b[H"
	EndOfLine   = "\x1b[K"
	ToTheEnd    = "\x1b[J"
	Bold        = "\x1b[1m"
	Red         = "\x1b[31m"
	Green       = "\x1b[32m"
	Yellow      = "\x1b[33m"
	Plain       = "\x1b[0m"
)

const (
	// OutputGrace is how long the end of a program waits for a blocked output.
	OutputGrace = time.Second

	// Tick is how often a terminal is drawn without a change.
	Tick = time.Second
)

// ErrBlocked is the error of a program whose output was blocked for [OutputGrace].
var ErrBlocked = errors.New("the output is blocked: nothing reads it")

// IsTerminal reports whether out is a terminal with a cursor that can be moved.
func IsTerminal(out io.Writer) bool {
	file, ok := out.(*os.File)
	return ok && term.IsTerminal(int(file.Fd())) && os.Getenv("TERM") != "dumb"
}

// SizeOf returns a function that returns the current size of a terminal.
func SizeOf(terminal io.Writer) func() (width, height int) {
	return func() (width, height int) {
		width, height, err := term.GetSize(int(terminal.(*os.File).Fd()))
		if err != nil || width <= 0 || height <= 0 {
			return 80, 24
		}
		return width, height
	}
}

// DrawTimer fires when it is time to draw.
type DrawTimer struct {
	timer *time.Timer
	due   time.Time // zero: the timer is stopped
}

// NewDrawTimer returns a timer that does not fire before [DrawTimer.DrawIn] was called.
func NewDrawTimer() *DrawTimer {
	t := &DrawTimer{timer: time.NewTimer(time.Hour)}
	t.timer.Stop()
	return t
}

// C returns the channel of the timer. After a receive, call [DrawTimer.Drawn].
func (t *DrawTimer) C() <-chan time.Time { return t.timer.C }

// DrawIn sets the timer to fire after a time, unless it fires earlier.
func (t *DrawTimer) DrawIn(wait time.Duration) {
	due := time.Now().Add(wait)
	if t.due.IsZero() || due.Before(t.due) {
		t.due = due
		t.timer.Reset(wait)
	}
}

// Drawn clears the time that DrawIn has set.
func (t *DrawTimer) Drawn() { t.due = time.Time{} }

// Stop stops the timer.
func (t *DrawTimer) Stop() { t.timer.Stop() }
