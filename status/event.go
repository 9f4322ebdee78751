// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package status

// EventType is the type of an [Event].
type EventType string

const (
	// ResourceUpdate: an object has its first status, or another one than in its last
	// event.
	ResourceUpdate EventType = "resource"

	// Synced: each object has a status, and has had its event.
	Synced EventType = "synced"

	// Error: the engine cannot report any status, for the reason in Err. It is the last
	// event. Only a [PollerEngine] sends it.
	Error EventType = "error"
)

// Event is a change in a set of objects.
type Event struct {
	Type     EventType
	Resource ObjectStatus // of ResourceUpdate
	Err      error        // of Error
}
