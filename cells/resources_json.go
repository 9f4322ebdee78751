// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package cells

import (
	"bytes"
	"encoding/json"
	"time"

	"github.com/apiary-go/apiary/informer"
	"github.com/apiary-go/apiary/informer/mirror"
	"github.com/apiary-go/apiary/informer/push"
	"github.com/apiary-go/apiary/internal/redact"
	"github.com/apiary-go/apiary/resource"
	"github.com/apiary-go/apiary/store"
)

// MarshalJSON implements json.Marshaler. Errors are texts, and ages are seconds.
func (f Followed) MarshalJSON() ([]byte, error) {
	out := followedJSON{
		Kind: f.Kind, Name: f.Name, Cluster: f.Cluster, Scope: f.Scope,
		Level: f.Level, Status: f.Status, Error: errorText(f.Err), Since: f.Since,
		Synced: f.Synced, Objects: f.Objects, Reflector: reflectorToJSON(f.Reflector),
		Namespaces: namespacesToJSON(f.Namespaces),
		Mirror:     mirrorToJSON(f.Mirror), Push: pushToJSON(f.Push), Recording: f.Recording,
	}
	for _, l := range f.Lists {
		out.Lists = append(out.Lists, listJSON(l))
	}
	for _, s := range f.Subscribers {
		out.Subscribers = append(out.Subscribers, subscriberToJSON(s))
	}
	for _, e := range f.Recent {
		e.Text = redact.Text(e.Text)
		out.Recent = append(out.Recent, recentJSON(e))
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false) // the encoder that called this does it, if it is to be done
	err := e.Encode(out)
	return b.Bytes(), err
}

type followedJSON struct {
	Kind        FollowedKind     `json:"kind"`
	Name        string           `json:"name"`
	Cluster     string           `json:"cluster,omitempty"`
	Scope       string           `json:"scope"`
	Level       Level            `json:"level"`
	Status      string           `json:"status"`
	Error       string           `json:"error,omitempty"`
	Since       time.Time        `json:"since,omitzero"`
	Synced      bool             `json:"synced"`
	Objects     int              `json:"objects"`
	Reflector   reflectorJSON    `json:"reflector"`
	Namespaces  []namespaceJSON  `json:"namespaces,omitempty"`
	Lists       []listJSON       `json:"lists,omitempty"`
	Subscribers []subscriberJSON `json:"subscribers,omitempty"`
	Mirror      *mirrorJSON      `json:"mirror,omitempty"`
	Push        *pushJSON        `json:"push,omitempty"`
	Recording   string           `json:"recording,omitempty"`
	Recent      []recentJSON     `json:"recent,omitempty"`
}

// listJSON, recentJSON and mergerJSON have the fields of the types that are converted to
// them.
type listJSON struct {
	Reason   store.Reason `json:"reason"`
	Streamed bool         `json:"streamed"`
	Result   string       `json:"result"`
	Count    uint64       `json:"count"`
}

type recentJSON struct {
	Time  time.Time `json:"time"`
	Level string    `json:"level"`
	Text  string    `json:"text"`
}

type reflectorJSON struct {
	State       informer.State `json:"state,omitempty"`
	Cause       informer.Cause `json:"cause,omitempty"`
	Error       string         `json:"error,omitempty"`
	Contact     time.Time      `json:"lastContact,omitzero"`
	Version     string         `json:"version,omitempty"`
	Passes      uint64         `json:"passes"`
	WatchEvents uint64         `json:"watchEvents"`
	Panics      uint64         `json:"panics"`
	Polling     *pollingJSON   `json:"polling,omitempty"`
	LeftOut     []leftOutJSON  `json:"leftOut,omitempty"`
	MoreLeftOut bool           `json:"moreLeftOut,omitempty"`
}

type namespaceJSON struct {
	Namespace string `json:"namespace"`
	reflectorJSON
}

func namespacesToJSON(all []informer.ReflectorInfo) (out []namespaceJSON) {
	for _, m := range all {
		out = append(out, namespaceJSON{m.Namespace, reflectorToJSON(m)})
	}
	return out
}

type pollingJSON struct {
	EverySeconds float64        `json:"everySeconds"`
	Cause        informer.Cause `json:"cause"`
}

type leftOutJSON struct {
	Key   string `json:"key"`
	Error string `json:"error"`
}

func reflectorToJSON(r informer.ReflectorInfo) reflectorJSON {
	out := reflectorJSON{
		State: r.State, Cause: r.Cause, Error: errorText(r.Err), Contact: r.Contact, Version: r.Version,
		Passes: r.Passes, WatchEvents: r.WatchEvents, Panics: r.Panics, MoreLeftOut: r.MoreLeftOut,
	}
	if p := r.Polling; p != nil {
		out.Polling = &pollingJSON{p.Every.Seconds(), p.Cause}
	}
	for _, l := range r.LeftOut {
		out.LeftOut = append(out.LeftOut, leftOutJSON{l.Meta.Key.String(), errorText(l.Err)})
	}
	return out
}

type subscriberJSON struct {
	Name                  string       `json:"name,omitempty"`
	Site                  string       `json:"site"`
	Depth                 int          `json:"depth"`
	Outstanding           int          `json:"outstanding"`
	Retrying              int          `json:"retrying"`
	Replaying             int          `json:"replaying"`
	OldestSeconds         float64      `json:"oldestSeconds"`
	Errors                uint64       `json:"errors"`
	LastError             string       `json:"lastError,omitempty"`
	RetryingOldestSeconds float64      `json:"retryingOldestSeconds"`
	Worst                 *failingJSON `json:"worst,omitempty"`
}

type failingJSON struct {
	Key     string    `json:"key"`
	Retries int       `json:"retries"`
	Since   time.Time `json:"since"`
	Next    time.Time `json:"next,omitzero"`
	Error   string    `json:"error,omitempty"`
}

func subscriberToJSON(s resource.SubscriberStats) subscriberJSON {
	out := subscriberJSON{
		Name: s.Name, Site: s.Site, Depth: s.Depth, Outstanding: s.Outstanding, Retrying: s.Retrying, Replaying: s.Replaying,
		OldestSeconds: s.Oldest.Seconds(), Errors: s.Errors, LastError: errorText(s.LastError), RetryingOldestSeconds: s.RetryingOldest.Seconds(),
	}
	if w := s.Worst; w != nil {
		out.Worst = &failingJSON{keyText(w.Key), w.Retries, w.Since, w.Next, errorText(w.Err)}
	}
	return out
}

type mirrorJSON struct {
	ResumeVersion string       `json:"resumeVersion"`
	Recorded      int          `json:"recorded"`
	Pending       int          `json:"pending"`
	PendingBytes  int64        `json:"pendingBytes"`
	Failing       int          `json:"failing"`
	HeldBack      *failingJSON `json:"heldBack,omitempty"`
	Added         uint64       `json:"added"`
	Updated       uint64       `json:"updated"`
	Deleted       uint64       `json:"deleted"`
	Shown         uint64       `json:"shown"`
	NotKept       uint64       `json:"notKept"`
	Failures      uint64       `json:"failures"`
	Unchanged     uint64       `json:"unchanged"`
	Swept         uint64       `json:"swept"`
	Stale         uint64       `json:"stale"`
	Panics        uint64       `json:"panics"`
}

func mirrorToJSON(m *mirror.InformerStats) *mirrorJSON {
	if m == nil {
		return nil
	}
	out := &mirrorJSON{
		ResumeVersion: m.ResumeVersion, Recorded: m.Recorded, Pending: m.Pending, PendingBytes: m.PendingBytes, Failing: m.Failing,
		Added: m.Added, Updated: m.Updated, Deleted: m.Deleted, Shown: m.Shown, NotKept: m.NotKept, Failures: m.Failures,
		Unchanged: m.Unchanged, Swept: m.Swept, Stale: m.Stale, Panics: m.Panics,
	}
	if h := m.HeldBack; h != nil {
		out.HeldBack = &failingJSON{Key: keyText(h.Key), Retries: h.Failures, Since: h.Since, Error: errorText(h.Err)}
	}
	return out
}

type pushJSON struct {
	Snapshots uint64 `json:"snapshots"`
	mergerJSON
}

type mergerJSON struct {
	Pending      int    `json:"pending"`
	PendingBytes int64  `json:"pendingBytes"`
	Failing      int    `json:"failing"`
	Dead         int    `json:"deadLetters"`
	Accepted     int    `json:"accepted"`
	Batches      uint64 `json:"batches"`
	Changes      uint64 `json:"changes"`
	Failures     uint64 `json:"failures"`
	Refused      uint64 `json:"refused"`
	Vanished     uint64 `json:"vanished"`
	Stale        uint64 `json:"stale"`
	Fenced       uint64 `json:"fenced"`
	Panics       uint64 `json:"panics"`
}

func pushToJSON(p *push.BatcherStats) *pushJSON {
	if p == nil {
		return nil
	}
	return &pushJSON{p.Snapshots, mergerJSON(p.MergerStats)}
}
