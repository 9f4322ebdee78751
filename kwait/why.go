// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	corev1client "k8s.io/client-go/kubernetes/typed/core/v1"

	"github.com/apiary-go/apiary/informer"
	"github.com/apiary-go/apiary/status"
)

const (
	// whyTime bounds the time of all requests for events.
	whyTime = 3 * time.Second

	whyObjects = 10 // whose events are shown
	whyPods    = 5  // of an object
	whyEvents  = 5  // of an object, its children and its Pods
)

// why is what is known about an object that does not meet the goal. It has names, reasons
// and messages, and nothing else of the objects.
type why struct {
	Pods       []failingPod `json:"pods,omitempty"`
	MorePods   int          `json:"morePods,omitempty"` // that are not ready, and are not in Pods
	Events     []warning    `json:"events,omitempty"`   // the newest first
	Finalizers []string     `json:"finalizers,omitempty"`
}

// failingPod is a container of a Pod that is not ready, or a Pod without such a container.
type failingPod struct {
	Name      string `json:"name"`
	Container string `json:"container,omitempty"`
	Reason    string `json:"reason,omitempty"`
	Message   string `json:"message,omitempty"`
	Restarts  int64  `json:"restarts"`
	LastExit  string `json:"lastExit,omitempty"` // such as "OOMKilled, exit code 137"
}

func (p failingPod) String() string {
	text := "Pod " + p.Name
	if p.Container != "" {
		text += ", container " + p.Container
	}
	text += ": " + joined(": ", p.Reason, p.Message)
	if p.Restarts > 0 {
		text += fmt.Sprintf(" (restarts: %d)", p.Restarts)
	}
	if p.LastExit != "" {
		text += " (last exit: " + p.LastExit + ")"
	}
	return oneLine(text)
}

// warning is an event of type Warning.
type warning struct {
	Kind    string    `json:"kind"` // of the object that the event is about
	Name    string    `json:"name"`
	Reason  string    `json:"reason"`
	Message string    `json:"message"`
	Count   int32     `json:"count"`
	Last    time.Time `json:"last"`
}

func (w warning) String() string {
	text := fmt.Sprintf("Warning for %s %s, %s ago", w.Kind, w.Name, time.Since(w.Last).Truncate(time.Second))
	if w.Count > 1 {
		text += fmt.Sprintf(", %d times", w.Count)
	}
	return oneLine(text + ": " + joined(": ", w.Reason, w.Message))
}

func joined(separator string, parts ...string) string {
	return strings.Join(slices.DeleteFunc(parts, func(part string) bool { return part == "" }), separator)
}

// lines returns one line for each thing that is known.
func (y why) lines() []string {
	var lines []string
	for _, pod := range y.Pods {
		lines = append(lines, pod.String())
	}
	if y.MorePods > 0 {
		lines = append(lines, fmt.Sprintf("… and %d more Pods that are not ready", y.MorePods))
	}
	for _, event := range y.Events {
		lines = append(lines, event.String())
	}
	if len(y.Finalizers) > 0 {
		lines = append(lines, oneLine("it is being deleted, with the finalizers "+strings.Join(y.Finalizers, ", ")))
	}
	return lines
}

// explainer finds out why objects do not meet the goal.
type explainer struct {
	events  corev1client.EventsGetter // nil: no events
	problem string                    // why events cannot be read
	objects int                       // whose events were read
}

// explain returns what is known about an object from its status, and asks for events.
func (e *explainer) explain(ctx context.Context, s status.ObjectStatus) why {
	var y why
	pods, others := unready(s)
	shown := pods[:min(len(pods), whyPods)]
	for _, pod := range shown {
		y.Pods = append(y.Pods, containers(pod)...)
	}
	if s.ID.GroupKind == podKind {
		// Without a reason it is the message of the status, which is shown with the object.
		y.Pods = slices.DeleteFunc(y.Pods, func(p failingPod) bool { return p.Reason == "" })
	}
	y.MorePods = len(pods) - len(shown)
	if s.Object != nil && s.Object.GetDeletionTimestamp() != nil {
		y.Finalizers = s.Object.GetFinalizers()
	}
	e.objects++
	if e.objects > whyObjects {
		return y
	}
	for _, about := range slices.Concat(others, shown) {
		y.Events = append(y.Events, e.warnings(ctx, about.Object)...)
	}
	slices.SortStableFunc(y.Events, func(a, b warning) int { return b.Last.Compare(a.Last) })
	y.Events = y.Events[:min(len(y.Events), whyEvents)]
	return y
}

// unready returns the Pods among an object and its children that are not ready, the failed
// ones first, and the others of these objects. An object that the server does not have is
// left out.
func unready(s status.ObjectStatus) (pods, others []status.ObjectStatus) {
	if s.Object != nil && s.Status != status.Current {
		if s.ID.GroupKind != podKind {
			others = append(others, s)
		} else if s.Status != status.Terminating {
			pods = append(pods, s)
		}
	}
	for _, child := range s.Children {
		morePods, moreOthers := unready(child)
		pods, others = append(pods, morePods...), append(others, moreOthers...)
	}
	slices.SortStableFunc(pods, func(a, b status.ObjectStatus) int {
		switch failed := a.Status == status.Failed; {
		case failed == (b.Status == status.Failed):
			return 0
		case failed:
			return -1
		}
		return 1
	})
	return pods, others
}

// containers returns the containers of a Pod that are not ready, or else the Pod.
func containers(s status.ObjectStatus) []failingPod {
	var failing []failingPod
	for _, field := range []string{"initContainerStatuses", "containerStatuses"} {
		list, _, _ := unstructured.NestedSlice(s.Object.Object, "status", field)
		for _, item := range list {
			container, _ := item.(map[string]any)
			if p := containerOf(container); p.Reason != "" {
				p.Name = s.ID.Name
				failing = append(failing, p)
			}
		}
	}
	if len(failing) > 0 {
		return failing
	}
	pod := failingPod{Name: s.ID.Name, Message: s.Message}
	conditions, _, _ := unstructured.NestedSlice(s.Object.Object, "status", "conditions")
	for _, item := range conditions {
		condition, _ := item.(map[string]any)
		if condition["type"] == string(corev1.PodScheduled) && condition["status"] == string(corev1.ConditionFalse) {
			pod.Reason, _ = condition["reason"].(string)
			pod.Message, _ = condition["message"].(string)
		}
	}
	return []failingPod{pod}
}

// containerOf describes the status of a container. The Reason is empty if it is ready or
// has completed. The message of a container that has ended is not shown: it can be the
// end of its log.
func containerOf(container map[string]any) failingPod {
	text := func(fields ...string) string { v, _, _ := unstructured.NestedString(container, fields...); return v }
	p := failingPod{Container: text("name"), LastExit: exitOf(container, "lastState")}
	p.Restarts, _, _ = unstructured.NestedInt64(container, "restartCount")
	state, _, _ := unstructured.NestedMap(container, "state")
	switch {
	case state["waiting"] != nil:
		p.Reason, p.Message = text("state", "waiting", "reason"), text("state", "waiting", "message")
		if p.Reason == "" {
			p.Reason = "Waiting"
		}
	case state["terminated"] != nil:
		p.Reason = exitOf(container, "state")
	case state["running"] != nil && container["ready"] == false:
		p.Reason = "NotReady"
	}
	return p
}

// exitOf returns how a container has ended, or "" if it has not, or has succeeded.
func exitOf(container map[string]any, state string) string {
	code, ended, _ := unstructured.NestedInt64(container, state, "terminated", "exitCode")
	if !ended || code == 0 {
		return ""
	}
	reason, _, _ := unstructured.NestedString(container, state, "terminated", "reason")
	return joined(", ", reason, fmt.Sprintf("exit code %d", code))
}

// warnings asks for the Warning events of an object. After the first error it asks no
// more.
func (e *explainer) warnings(ctx context.Context, obj *unstructured.Unstructured) []warning {
	if e.events == nil {
		return nil
	}
	namespace := obj.GetNamespace()
	if namespace == "" {
		namespace = metav1.NamespaceDefault // where the events of cluster-scoped objects are
	}
	list, err := e.events.Events(namespace).List(ctx, metav1.ListOptions{
		FieldSelector: "type=" + corev1.EventTypeWarning + ",involvedObject.uid=" + string(obj.GetUID()),
		Limit:         100,
	})
	if err != nil {
		e.events, e.problem = nil, "events are not shown: "+oneLine(informer.Explain(err))
		return nil
	}
	var all []warning
	for i := range list.Items {
		all = append(all, warningOf(&list.Items[i]))
	}
	return all
}

func warningOf(event *corev1.Event) warning {
	w := warning{
		Kind: event.InvolvedObject.Kind, Name: event.InvolvedObject.Name,
		Reason: event.Reason, Message: event.Message,
		Count: max(event.Count, 1),
	}
	times := []time.Time{event.LastTimestamp.Time, event.EventTime.Time}
	if event.Series != nil {
		w.Count = max(w.Count, event.Series.Count)
		times = append(times, event.Series.LastObservedTime.Time)
	}
	if w.Last = slices.MaxFunc(times, time.Time.Compare); w.Last.IsZero() {
		w.Last = event.CreationTimestamp.Time
	}
	return w
}
