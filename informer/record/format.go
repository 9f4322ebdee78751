// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package record

import (
	"encoding/json"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"

	"github.com/apiary-go/apiary/informer"
	"github.com/apiary-go/apiary/store"
)

// format is the version of the format. A reader accepts this version only.
const format = 1

// The kinds of lines. A recording has a header, and then the calls of the source. Each call is
// followed by its results, in order.
const (
	lineHeader   = "recording"
	lineCall     = "call"
	lineItem     = "item"     // an object of a list
	lineOpened   = "opened"   // the server accepted the watch
	lineEvent    = "event"    // of the watch
	linePage     = "page"     // the list is complete
	lineAbsent   = "absent"   // the result of Absent
	lineFailed   = "failed"   // the call, or the watch, returned an error
	lineCanceled = "canceled" // the context of the call ended
	lineRefused  = "refused"  // the sink refused the last item of the list
	lineEnd      = "end"      // the recording ends before the run
)

// The methods of a source.
const (
	callList     = "list"
	callMetadata = "list of metadata"
	callWatch    = "watch"
	callAbsent   = "absent"
)

// line is one line of a recording.
type line struct {
	Line string `json:"line"`

	// At is the time since the header, in nanoseconds.
	At time.Duration `json:"at"`

	// Of a header.
	Format  int       `json:"format,omitempty"`
	Objects string    `json:"objects,omitempty"` // the Go type
	Strict  bool      `json:"strict,omitempty"`
	Start   time.Time `json:"start,omitzero"`

	// Of a call.
	Call    string              `json:"call,omitempty"`
	Streams bool                `json:"streams,omitempty"` // the last result of WatchList
	Options *metav1.ListOptions `json:"options,omitempty"`

	// HTTP is how far the request has got.
	HTTP progress `json:"http,omitempty"`

	Object *object        `json:"object,omitempty"`
	Event  *event         `json:"event,omitempty"`
	Page   *informer.Page `json:"page,omitempty"`
	Error  *failure       `json:"error,omitempty"`
	Absent bool           `json:"absent,omitempty"`

	// Text is why the recording ends.
	Text string `json:"text,omitempty"`
}

// object is an object of a list or an event. If it has neither content nor an error, it was
// not decoded.
type object struct {
	Namespace string          `json:"namespace,omitempty"`
	Name      string          `json:"name,omitempty"`
	UID       types.UID       `json:"uid,omitempty"`
	Version   string          `json:"version,omitempty"`
	Content   json.RawMessage `json:"content,omitempty"`
	Error     *failure        `json:"error,omitempty"`
}

func objectOf(m store.Meta) *object {
	return &object{Namespace: m.Key.Namespace, Name: m.Key.Name, UID: m.UID, Version: m.Version}
}

func (o *object) meta() store.Meta {
	return store.Meta{Key: store.Key{Namespace: o.Namespace, Name: o.Name}, UID: o.UID, Version: o.Version}
}

// event is an event of a watch, without its object.
type event struct {
	Type    watch.EventType `json:"type"`
	Version string          `json:"version,omitempty"`
	End     bool            `json:"initialEventsEnd,omitempty"`
	Form    string          `json:"form,omitempty"`
}
