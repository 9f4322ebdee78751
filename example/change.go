// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package main

import (
	"fmt"
	"time"
)

// change is one change of the table. With --output=json it is a line with these fields.
// Fields without a meaning for a change are left out. Versions to come can add fields
// and changes.
type change struct {
	// Time is when the application received the change.
	Time time.Time `json:"time"`

	// Change is one of the constants below.
	Change changeKind `json:"change"`

	// Namespace and Service name the service.
	Namespace string `json:"namespace,omitempty"`
	Service   string `json:"service,omitempty"`

	// Selector is the selector of the service, as in "app=web,track=canary". It is set
	// for service-added and service-updated, unless the service has none.
	Selector string `json:"selector,omitempty"`

	// Pod is the name of the pod, in the namespace of the service.
	Pod string `json:"pod,omitempty"`

	// State is the state of the pod after the change, Was that before it.
	State *state `json:"state,omitempty"`
	Was   *state `json:"was,omitempty"`

	// Reason is why a pod left: "deleted", "labels" if its labels changed, or
	// "selector" if the selector of the service changed.
	Reason string `json:"reason,omitempty"`

	// Pods counts the pods that the service selects after the change.
	Pods *podCount `json:"pods,omitempty"`

	// Component, Level and Message are the health of a part of the application. Level
	// is "ok" or "degraded", and Message says why.
	Component string `json:"component,omitempty"`
	Level     string `json:"level,omitempty"`
	Message   string `json:"message,omitempty"`
}

// state is the state of a pod that is shown.
type state struct {
	// Status is one word: the phase, Terminating, or a reason such as
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
	serviceAdded   changeKind = "service-added"   // the service is new
	serviceUpdated changeKind = "service-updated" // its selector changed
	serviceRemoved changeKind = "service-removed" // it was deleted; its pods have no change
	podJoined      changeKind = "pod-joined"      // the service selects the pod now
	podUpdated     changeKind = "pod-updated"     // its state changed
	podLeft        changeKind = "pod-left"        // the service no longer selects it, or it was deleted
	synced         changeKind = "synced"          // once: the changes before it are the state at the start
	healthChanged  changeKind = "health"          // see Component
)

// subject returns the namespace and name of the service.
func (c change) subject() string { return c.Namespace + "/" + c.Service }

// String returns the change without its subject.
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

// String returns Status, and Ready if that is unexpected.
func (s state) String() string {
	switch {
	case s.Status == "Running" && !s.Ready:
		return "Running, not ready"
	case s.Status != "Running" && s.Ready:
		return s.Status + ", ready"
	}
	return s.Status
}
