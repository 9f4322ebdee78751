// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package wire

import (
	"encoding/binary"
	"io"
	"slices"
	"strings"
)

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
	var err error
	if w.format == 0 {
		err = w.begin()
	}
	w.event = Event{}
	switch {
	case err != nil:
	case w.format == JSON:
		err = w.reader.nextJSON(w.limits, &w.event)
	default:
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

// begin finds out the format by the first bytes.
func (w *Watch) begin() error {
	r := w.reader
	first, err := r.Peek(len(protobufMagic))
	switch {
	case len(first) == 0:
		return err
	case first[0] == '{' || isSpace(first[0]):
		if err := r.expectJSON(); err != nil {
			return err
		}
		w.format = JSON
		return nil
	}
	w.format = Protobuf
	// A length comes first. That of a text would be one of half a gigabyte, or more.
	isText := !slices.ContainsFunc(first, func(c byte) bool { return c < ' ' && !isSpace(c) }) && !strings.HasPrefix(protobufMagic, string(first))
	if isText && (len(first) < len(protobufMagic) || tooLong(binary.BigEndian.Uint32(first), w.limits)) {
		return r.foreign()
	}
	return nil
}
