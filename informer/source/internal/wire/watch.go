// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package wire

import "io"

// Event is an event of a watch. It is valid until the next one is read.
type Event struct {
	Type   string // such as ADDED
	Object Object
}

// Watch reads the body of a watch.
type Watch struct {
	reader *reader
	limits Limits
	format Format // 0 before the first event
	event  Event
}

// NewWatch returns what reads body. Nothing is read yet.
func NewWatch(body io.Reader, limits Limits) *Watch {
	return &Watch{reader: newReader(body), limits: limits}
}

// Next blocks until there is an event. Between two events the end of the body is
// io.EOF.
func (w *Watch) Next() (*Event, error) {
	if w.format == 0 {
		first, err := w.reader.Peek(1)
		if err == io.EOF {
			return nil, io.EOF
		}
		if err != nil {
			return nil, w.reader.fail(err)
		}
		// In protobuf a length comes first: no object is of two gigabytes.
		w.format = Protobuf
		if first[0] == '{' || isSpace(first[0]) {
			w.format = JSON
		}
	}
	w.event = Event{}
	var err error
	if w.format == JSON {
		err = w.reader.nextJSON(w.limits, &w.event)
	} else {
		err = w.reader.nextProtobuf(w.limits, &w.event)
	}
	switch err {
	case nil:
		return &w.event, nil
	case io.EOF:
		return nil, io.EOF
	}
	return nil, w.reader.fail(err)
}
