// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package store

import (
	"fmt"
	"strings"

	"github.com/apiary-go/apiary/internal/redact"
)

// PanicError reports a panic of a user function, in all packages of this module. Package
// resource has the rule.
type PanicError struct {
	// Resource is the name of the caller, such as a resource. It is empty if an error that
	// wraps this one has it.
	Resource string

	// Function is the function that panicked, for example "filter".
	Function string

	// Site is the file and line of the call of Events or Observe, if the function
	// belongs to a subscriber.
	Site string

	// Key is the key of the object that the function was called for. It is zero if there
	// was none, or if there were several.
	Key Key

	// Value is the value of the panic, and Stack is its stack.
	Value any
	Stack []byte
}

// Error implements error.
func (e *PanicError) Error() string {
	var b strings.Builder
	if e.Resource != "" {
		fmt.Fprintf(&b, "resource %s: ", e.Resource)
	}
	b.WriteString(e.Function)
	if e.Site != "" {
		b.WriteString(" of the subscriber of " + e.Site)
	}
	b.WriteString(" panicked")
	if e.Key != (Key{}) {
		fmt.Fprintf(&b, " on key %q", e.Key.String())
	}
	b.WriteString(": " + redact.Panic(e.Value))
	return b.String()
}

// Unwrap returns Value if it is an error.
func (e *PanicError) Unwrap() error {
	err, _ := e.Value.(error)
	return err
}
