// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package record

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// What a reader accepts. A header has few fields. No recording needs more by default, and a
// small compressed file can claim any size.
const (
	maxHeader    = 16 << 10
	maxLine      = 128 << 20
	maxRecording = 1 << 30
)

// recording is the content of a file.
type recording struct {
	header line
	calls  []recordedCall
}

// recordedCall is a call and the lines that it returned.
type recordedCall struct {
	line
	steps []line
	http  progress // how far the request got in the end
}

// read reads a recording, compressed or not. It ignores an incomplete last line.
func read(in io.Reader) (*recording, error) {
	r := bufio.NewReader(in)
	if magic, _ := r.Peek(2); bytes.Equal(magic, []byte{0x1f, 0x8b}) {
		unzipped, err := gzip.NewReader(r)
		if err != nil {
			return nil, fmt.Errorf("not a gzip file: %w", err)
		}
		r = bufio.NewReader(unzipped)
	}
	rec := &recording{}
	size := 0
	for number := 1; ; number++ {
		limit := maxLine
		if number == 1 {
			limit = maxHeader
		}
		text, err := readLine(r, limit)
		cut := errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
		if err != nil && !cut {
			return nil, fmt.Errorf("line %d: %w", number, err)
		}
		if size += len(text); size > maxRecording {
			return nil, fmt.Errorf("line %d: the recording is larger than %d bytes", number, maxRecording)
		}
		if len(text) > 0 {
			l := line{}
			if err := json.Unmarshal(text, &l); err != nil {
				if cut && number > 1 {
					return rec, nil
				}
				return nil, fmt.Errorf("line %d is not a line of a recording", number)
			}
			done, err := rec.add(l, number)
			if err != nil {
				return nil, fmt.Errorf("line %d: %w", number, err)
			}
			if done {
				return rec, nil
			}
		}
		if cut {
			if number == 1 && len(text) == 0 {
				return nil, errors.New("the recording is empty")
			}
			return rec, nil
		}
	}
}

// readLine reads up to a newline, which it leaves out.
func readLine(r *bufio.Reader, limit int) ([]byte, error) {
	var text []byte
	for {
		part, err := r.ReadSlice('\n')
		if len(text)+len(part) > limit {
			return nil, fmt.Errorf("the line is longer than %d bytes", limit)
		}
		text = append(text, part...)
		if !errors.Is(err, bufio.ErrBufferFull) {
			return bytes.TrimSuffix(text, []byte("\n")), err
		}
	}
}

// add adds a line. It reports whether it is the last one.
func (r *recording) add(l line, number int) (done bool, err error) {
	if number == 1 {
		if l.Line != lineHeader {
			return false, errors.New("not the header of a recording")
		}
		if l.Format != format {
			return false, fmt.Errorf("the format has version %d, this reader knows version %d", l.Format, format)
		}
		r.header = l
		return false, nil
	}
	if l.Line == lineEnd {
		return true, nil
	}
	if l.Line == lineCall {
		switch l.Call {
		case callList, callMetadata, callWatch:
			if l.Options == nil {
				return false, fmt.Errorf("a %s without options", l.Call)
			}
		case callAbsent:
		default:
			return false, fmt.Errorf("an unknown call %q", l.Call)
		}
		r.calls = append(r.calls, recordedCall{line: l})
		return false, nil
	}
	if len(r.calls) == 0 {
		return false, fmt.Errorf("a line %q before the first call", l.Line)
	}
	c := &r.calls[len(r.calls)-1]
	if !c.accepts(l) {
		return false, fmt.Errorf("a line %q in the wrong place of a %s", l.Line, c.Call)
	}
	c.steps, c.http = append(c.steps, l), max(c.http, l.HTTP)
	return false, nil
}

// accepts reports whether the line can be the next one of the call.
func (c *recordedCall) accepts(l line) bool {
	opened := false
	if n := len(c.steps); n > 0 {
		switch c.steps[n-1].Line {
		case lineOpened, lineEvent:
			opened = true
		case lineItem:
		default:
			return false // the call is over
		}
	}
	lists := c.Call == callList || c.Call == callMetadata
	switch l.Line {
	case lineItem:
		return lists && l.Object != nil
	case linePage:
		return lists && l.Page != nil
	case lineRefused:
		return lists && len(c.steps) > 0
	case lineOpened:
		return c.Call == callWatch && !opened
	case lineEvent:
		return opened && l.Event != nil
	case lineAbsent:
		return c.Call == callAbsent
	case lineFailed:
		return l.Error != nil
	}
	return l.Line == lineCanceled
}
