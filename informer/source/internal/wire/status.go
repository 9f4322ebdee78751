// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package wire

import "fmt"

// statusKind is the kind of what servers send in the place of what was asked for.
const statusKind = "Status"

// StatusError says that a body is neither a list nor a watch, but a Status.
type StatusError struct{ Object Object }

// Error implements error.
func (e *StatusError) Error() string {
	return fmt.Sprintf("a %s, not what was asked for", statusKind)
}

// isStatusMember reports whether a Status has a member of that name, and a list has not.
func isStatusMember(name string) bool {
	switch name {
	case "status", "message", "reason", "details", "code":
		return true
	}
	return false
}

// keepStatus reads a member of what may turn out to be a Status. All of them have the
// room of an object.
func (l *jsonList) keepStatus(name string) error {
	if _, err := l.peek(); err != nil {
		return l.fail(err)
	}
	raw, err := l.value(l.limits.Object-len(l.status), &scanner{depth: l.limits.Depth})
	if err != nil {
		return l.fail(err)
	}
	l.status = fmt.Appendf(l.status, `,"%s":%s`, name, raw)
	return nil
}

// asStatus is the Status that the members make which were kept.
func (l *jsonList) asStatus() error {
	raw := append([]byte(`{"kind":"Status"`), l.status...)
	return &StatusError{Object{Format: JSON, Raw: append(raw, '}')}}
}

// statusFor is the error that an event is which has no type, because it is none.
func statusFor(raw []byte, limits Limits) error {
	s := scanner{depth: limits.Depth + 1}
	if _, _, err := s.scan(raw); err != nil {
		return err
	}
	o := Object{Raw: raw}
	if err := jsonMetaOf(&o, &s); err != nil || o.Kind != statusKind {
		return err
	}
	return &StatusError{o}
}
