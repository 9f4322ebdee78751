// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package informer

import (
	"errors"
	"fmt"
	"time"

	"github.com/apiary-go/apiary/internal/redact"
	"github.com/apiary-go/apiary/store"
)

// The requests that can fail.
const (
	verbList   = "list"
	verbStream = "streamed list of" // a watch that begins with a list
	verbWatch  = "watch"
)

// requestError names the request that failed.
type requestError struct {
	verb, resource string
	err            error
}

// Error implements error.
func (e *requestError) Error() string {
	return e.verb + " " + e.resource + ": " + redact.Text(shortened(e.err))
}

// Unwrap returns the error of the request.
func (e *requestError) Unwrap() error { return e.err }

// whatFailed returns what failed, for texts: "cannot list".
func whatFailed(cause Cause, err error) string {
	request := (*requestError)(nil)
	switch {
	case cause == CauseSink:
		return "the sink failed"
	case !errors.As(err, &request):
		return "cannot list or watch"
	case request.verb == verbWatch:
		return "cannot watch"
	}
	return "cannot list"
}

// DecodingError means that a response or an object cannot be decoded, or that its conversion
// failed or panicked. What was read before stays valid.
type DecodingError struct {
	// Meta identifies the object as far as it is known.
	Meta store.Meta

	// Err is the reason.
	Err error
}

// Error implements error. The text has the field and the kind of its value, and not the
// value. The text of a conversion, or of a type with its own decoder, can have the value.
func (e *DecodingError) Error() string {
	if e.Meta.Key == (store.Key{}) {
		return fmt.Sprintf("decoding an object: %v", redact.Error(e.Err))
	}
	return fmt.Sprintf("decoding object %s: %v", redact.Text(e.Meta.String()), redact.Error(e.Err))
}

// Unwrap returns the reason.
func (e *DecodingError) Unwrap() error { return e.Err }

// AsDecodingError returns err if it is or wraps a [DecodingError]. Otherwise it returns err
// wrapped in a DecodingError of the object of meta.
func AsDecodingError(meta store.Meta, err error) error {
	var known *DecodingError
	if errors.As(err, &known) {
		return err
	}
	return &DecodingError{Meta: meta, Err: err}
}

// SinkError wraps an error that a sink returned.
type SinkError struct {
	// Call is the method of the sink that returned the error.
	Call string

	// Meta identifies the refused object. It is zero for calls without an object.
	Meta store.Meta

	// Err is the error that the sink returned.
	Err error

	resource string // the name of the reflector
}

// Error implements error.
func (e *SinkError) Error() string {
	side := "sink"
	if e.resource != "" {
		side += " of " + e.resource
	}
	if e.Meta.Key == (store.Key{}) {
		return fmt.Sprintf("%s: %s: %s", side, e.Call, shortened(e.Err))
	}
	return fmt.Sprintf("%s: %s %s: %s", side, e.Call, e.Meta, shortened(e.Err))
}

// Unwrap returns the error that the sink returned.
func (e *SinkError) Unwrap() error { return e.Err }

// SilenceError means that a request was ended by an idle timeout. See [Settings.Silence] and
// [Settings.InitialSilence].
type SilenceError struct {
	// After is the time without data.
	After time.Duration

	// Unanswered is set if there was a connection, and no byte of a response came over it.
	Unanswered bool

	unconnected bool  // there was no connection
	err         error // the reason, if it is not a dead connection
}

// Error implements error.
func (e *SilenceError) Error() string {
	if e.err != nil {
		return fmt.Sprintf("%v (waited for %v)", e.err, e.After)
	}
	if e.unconnected {
		return fmt.Sprintf("no connection for %v", e.After)
	}
	if e.Unanswered {
		return fmt.Sprintf("no response for %v: the connection counts as dead", e.After)
	}
	return fmt.Sprintf("no data for %v: the connection counts as dead", e.After)
}

// Unwrap returns the reason, or nil if it is a dead connection.
func (e *SilenceError) Unwrap() error { return e.err }

// Timeout returns true, as in [net.Error].
func (e *SilenceError) Timeout() bool { return true }

// The Reflector's own reasons to end a request or to make a pass.
var (
	errAsked        = errors.New("a resync was requested")
	errNoVersion    = errors.New("the watch ended without a resource version to resume from")
	errOlder        = errors.New("the server returned a state that is older than the requested version")
	errOldBookmarks = errors.New("the server sends bookmarks that are older than the last version")
	errNoEvents     = errors.New("the server sends no initial events")
	errNoEnd        = errors.New("the server does not end the initial events: it seems to ignore sendInitialEvents")
	errClosedEarly  = errors.New("the server closed the watch before the end of the initial events")
	errNoDrained    = errors.New("the sink returned a FullError without Drained: set Drained to a channel that is closed when the sink has drained")
)

// HandlerError wraps an error that a handler returned. The ErrorHandler of a
// mirror.InformerConfig receives it.
type HandlerError struct {
	// Call is the method that failed. Meta identifies the state that it got.
	Call string
	Meta store.Meta

	// Failures is how often this key failed in a row. RetryIn is the delay of the next try.
	Failures int
	RetryIn  time.Duration

	// Err is the error that the handler returned.
	Err error
}

// Error implements error.
func (e *HandlerError) Error() string {
	if e.Meta.Key == (store.Key{}) {
		return fmt.Sprintf("handler: %s: %s", e.Call, shortened(e.Err))
	}
	return fmt.Sprintf("handler: %s %s: %s", e.Call, e.Meta, shortened(e.Err))
}

// Unwrap returns the error that the handler returned.
func (e *HandlerError) Unwrap() error { return e.Err }
