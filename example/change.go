// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package main

import (
	"fmt"
	"time"
)

// change is something that happened to what is shown. With --output=json each one
// is a line, with these fields; those that mean nothing for a change are left out.
// New fields and new changes may be added.
type change struct {
	// Time is when the application learned of it.
	Time time.Time `json:"time"`

	// Change is one of the constants below.
	Change changeKind `json:"change"`

	// Namespace and Service name the service.
	Namespace string `json:"namespace,omitempty"`
	Service   string `json:"service,omitempty"`

	// Selector is what the service selects by, as in "app=web,track=canary". It
	// is there for service-added and service-updated, and missing if the service
	// has none.
	Selector string `json:"selector,omitempty"`

	// Pod is the name of the pod, in the namespace of the service.
	Pod string `json:"pod,omitempty"`

	// State is that of the pod after the change, Was that before it.
	State *state `json:"state,omitempty"`
	Was   *state `json:"was,omitempty"`

	// Reason is why a pod left: "deleted", "labels" if its labels changed,
	// "selector" if that of the service did.
	Reason string `json:"reason,omitempty"`

	// Pods counts those that the service selects after the change.
	Pods *podCount `json:"pods,omitempty"`

	// Component, Level and Message describe the health of a part of the
	// application: "ok" or "degraded", and why.
	Component string `json:"component,omitempty"`
	Level     string `json:"level,omitempty"`
	Message   string `json:"message,omitempty"`
}

// state is what is shown of a pod.
type state struct {
	// Status is a word about it: its phase, Terminating, or a reason such as
	// CrashLoopBackOff.
	Status string `json:"status"`
	Ready  bool   `json:"ready"`
}

type podCount struct {
	Ready int `json:"ready"`
	Total int `json:"total"`
}

type changeKind string

const (
	serviceAdded   changeKind = "service-added"   // the first there is to know of a service
	serviceUpdated changeKind = "service-updated" // its selector changed
	serviceRemoved changeKind = "service-removed" // with all of its pods
	podJoined      changeKind = "pod-joined"      // the service selects the pod now
	podUpdated     changeKind = "pod-updated"     // its state changed
	podLeft        changeKind = "pod-left"        // the service no longer selects it, or it is gone
	synced         changeKind = "synced"          // once: the changes up to here are the state at the start
	healthChanged  changeKind = "health"          // see Component
)

// subject names the service.
func (c change) subject() string { return c.Namespace + "/" + c.Service }

// String says what changed about the subject.
func (c change) String() string {
	switch c.Change {
	case serviceAdded:
		return "new service, " + selectsText(c.Selector)
	case serviceUpdated:
		return "selector changed, " + selectsText(c.Selector)
	case serviceRemoved:
		return "service deleted"
	case podJoined:
		return fmt.Sprintf("%s joined: %s", c.Pod, c.State)
	case podUpdated:
		return fmt.Sprintf("%s: %s -> %s", c.Pod, c.Was, c.State)
	case podLeft:
		switch c.Reason {
		case "deleted":
			return c.Pod + " is gone"
		case "labels":
			return c.Pod + " left: its labels changed"
		}
		return c.Pod + " left: the selector changed"
	case healthChanged:
		return c.Message
	}
	return string(c.Change)
}

func selectsText(selector string) string {
	if selector == "" {
		return "selects nothing"
	}
	return "selects " + selector
}

// String is Status, and Ready where it is not what one expects.
func (s state) String() string {
	switch {
	case s.Status == "Running" && !s.Ready:
		return "Running, not ready"
	case s.Status != "Running" && s.Ready:
		return s.Status + ", ready"
	}
	return s.Status
}
