// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package main

import "time"

// picture is everything that is shown at a moment.
type picture struct {
	Time time.Time

	// Title names the source. Hint is a command that shows more, or empty.
	Title string
	Hint  string

	// Services are the rows. Until both Synced fields are true, some can be missing.
	Services       []serviceRow
	PodCount       int
	ServicesSynced bool
	PodsSynced     bool

	// Problems are the reports of the degraded parts of the application.
	Problems []healthReport
}

// printer shows changes to users or programs. Its methods are called from one
// goroutine.
type printer interface {
	// changed receives changes as they happen.
	changed(changes []change) error

	// draw is called after changes, at a rate that a person can follow.
	draw(now picture) error

	// close is called at the end.
	close(last picture) error
}
