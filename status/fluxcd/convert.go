// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package fluxcd

import (
	"errors"

	"github.com/fluxcd/cli-utils/pkg/kstatus/polling/event"
	kstatus "github.com/fluxcd/cli-utils/pkg/kstatus/status"
	"github.com/fluxcd/cli-utils/pkg/object"

	"github.com/apiary-go/apiary/status"
)

// IDs returns the IDs of a set, in its order.
func IDs(set object.ObjMetadataSet) []status.ID {
	ids := make([]status.ID, len(set))
	for i, m := range set {
		ids[i] = status.ID(m)
	}
	return ids
}

// ResourceStatus converts s for cli-utils. Reason, Stale and ChildrenErr have no field
// there. A stale status keeps its error. Objects are shared.
func ResourceStatus(s status.ObjectStatus) *event.ResourceStatus {
	rs := &event.ResourceStatus{
		Identifier: object.ObjMetadata(s.ID),
		Status:     kstatus.Status(s.Status),
		Resource:   s.Object,
		Error:      s.Err,
		Message:    s.Message,
	}
	for _, child := range s.Children {
		rs.GeneratedResources = append(rs.GeneratedResources, ResourceStatus(child))
	}
	return rs
}

// ObjectStatus converts a status of cli-utils. The reason of Unknown comes from the
// error (see [status.ReasonOf]), or is NotObserved without one. A nil rs is a
// RuleError.
func ObjectStatus(rs *event.ResourceStatus) status.ObjectStatus {
	if rs == nil {
		return status.ObjectStatus{Status: status.Unknown, Reason: status.RuleError, Err: errors.New("the status reader returned nil")}
	}
	s := status.ObjectStatus{
		ID:      status.ID(rs.Identifier),
		Status:  status.Status(rs.Status),
		Message: rs.Message,
		Err:     rs.Error,
		Object:  rs.Resource,
	}
	switch {
	case s.Status != status.Unknown:
	case s.Err == nil:
		s.Reason = status.NotObserved
	default:
		s.Reason = status.ReasonOf(s.Err)
	}
	for _, child := range rs.GeneratedResources {
		s.Children = append(s.Children, ObjectStatus(child))
	}
	return s
}

// Event converts an event for cli-utils.
func Event(ev status.Event) event.Event {
	switch ev.Type {
	case status.ResourceUpdate:
		return event.Event{Type: event.ResourceUpdateEvent, Resource: ResourceStatus(ev.Resource)}
	case status.Synced:
		return event.Event{Type: event.SyncEvent}
	default:
		return event.Event{Type: event.ErrorEvent, Error: ev.Err}
	}
}
