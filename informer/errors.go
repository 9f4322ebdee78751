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

// requestError says which request failed.
type requestError struct {
	verb, resource string
	err            error
}

// Error implements error.
func (e *requestError) Error() string {
	return e.verb + " " + e.resource + ": " + redact.Text(shortened(e.err))
}

// Unwrap returns what went wrong.
func (e *requestError) Unwrap() error { return e.err }

// whatFailed says it for people: "cannot list".
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

// DecodingError says that an object could not be understood: bytes or objects
// that are not what they should be, or a conversion that failed or panicked.
// What had been read before it stays valid.
type DecodingError struct {
	// Meta identifies the object as far as it is known.
	Meta store.Meta

	// Err is what is wrong.
	Err error
}

// Error implements error. The text names the field and the kind of its value, and not the
// value, unless the text of a conversion or of a type that reads itself does.
func (e *DecodingError) Error() string {
	if e.Meta.Key == (store.Key{}) {
		return fmt.Sprintf("decoding an object: %v", redact.Error(e.Err))
	}
	return fmt.Sprintf("decoding object %s: %v", redact.Text(e.Meta.String()), redact.Error(e.Err))
}

// Unwrap returns what is wrong.
func (e *DecodingError) Unwrap() error { return e.Err }

// AsDecodingError returns err if it is or wraps a [DecodingError], and otherwise err as
// the DecodingError of the object of meta.
func AsDecodingError(meta store.Meta, err error) error {
	var known *DecodingError
	if errors.As(err, &known) {
		return err
	}
	return &DecodingError{Meta: meta, Err: err}
}

// SinkError wraps an error that a sink returned.
type SinkError struct {
	// Call is the method of the sink that returned it.
	Call string

	// Meta identifies the object that was refused; zero for calls that are
	// not about an object.
	Meta store.Meta

	// Err is what the sink returned.
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

// Unwrap returns what the sink returned.
func (e *SinkError) Unwrap() error { return e.Err }

// SilenceError says that a request was given up because nothing came for too
// long.
type SilenceError struct {
	// After is how long nothing came.
	After time.Duration

	// Unanswered is set if there was a connection and not one byte of an
	// answer came over it.
	Unanswered bool

	unconnected bool  // no connection was to be had
	err         error // what it means, if it is not a dead connection
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
		return fmt.Sprintf("no answer for %v: the connection is taken for dead", e.After)
	}
	return fmt.Sprintf("nothing came for %v: the connection is taken for dead", e.After)
}

// Unwrap returns what the silence means, if it is known.
func (e *SilenceError) Unwrap() error { return e.err }

// Timeout reports true, for those who ask errors of the net package.
func (e *SilenceError) Timeout() bool { return true }

// Reasons of the Reflector's own for ending a request or wanting a pass.
var (
	errAsked        = errors.New("a new pass was asked for")
	errNoVersion    = errors.New("the server gave no resource version to resume the watch from")
	errOlder        = errors.New("the server answered with an older state than it was asked for at least")
	errOldBookmarks = errors.New("the server's bookmarks are older than what it delivered before")
	errNoEvents     = errors.New("the server answers the request for initial events with nothing")
	errNoEnd        = errors.New("the initial events of the watch do not end: the server seems to ignore sendInitialEvents")
	errClosedEarly  = errors.New("the server closed the watch before the end of the initial events")
	errNoDrained    = errors.New("the sink returned a FullError without Drained: set it to a channel that is closed once there is room")
)

// HandlerError says that a handler failed. It is what the
// [mirror.InformerConfig.ErrorHandler] is told.
type HandlerError struct {
	// Call is the method that failed, Meta the state that it was told of.
	Call string
	Meta store.Meta

	// Failures is how often this key failed in a row, RetryIn is after what time
	// it is tried again.
	Failures int
	RetryIn  time.Duration

	// Err is what the handler returned.
	Err error
}

// Error implements error.
func (e *HandlerError) Error() string {
	if e.Meta.Key == (store.Key{}) {
		return fmt.Sprintf("handler: %s: %s", e.Call, shortened(e.Err))
	}
	return fmt.Sprintf("handler: %s %s: %s", e.Call, e.Meta, shortened(e.Err))
}

// Unwrap returns what the handler returned.
func (e *HandlerError) Unwrap() error { return e.Err }
