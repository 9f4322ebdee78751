// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package main

import "time"

// picture is what there is to see at some moment.
type picture struct {
	Time time.Time

	// Title says where this comes from; Hint, if any, how to see more.
	Title string
	Hint  string

	// Services, and whether all services and all pods are known yet.
	Services       []serviceRow
	PodCount       int
	ServicesSynced bool
	PodsSynced     bool

	// Problems are what the degraded parts of the application say.
	Problems []healthReport
}

// printer shows to people or programs what happens. Its methods are called from
// one goroutine.
type printer interface {
	// changed is told of changes as they happen.
	changed(changes []change) error

	// draw is called when something changed, but not more often than a person can
	// follow.
	draw(now picture) error

	// close is called at the end.
	close(last picture) error
}
