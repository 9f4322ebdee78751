// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package status

// EventType says what an [Event] tells.
type EventType string

const (
	// ResourceUpdate: the status of an object is told for the first time, or is
	// another one than was told before.
	ResourceUpdate EventType = "resource"

	// Synced: all objects have a status, and these have been told.
	Synced EventType = "synced"

	// Error: nothing can be told, and nothing will be. Only a [PollerEngine] sends
	// it, as its last event, for what is wrong with its use.
	Error EventType = "error"
)

// Event is what is told of a set of objects.
type Event struct {
	Type     EventType
	Resource ObjectStatus // of ResourceUpdate
	Err      error        // of Error
}
