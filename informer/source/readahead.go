// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package source

import (
	"io"
	"sync"

	"github.com/apiary-go/apiary/internal/usercode"
	"github.com/apiary-go/apiary/store"
)

const (
	aheadChunk = 32 << 10
	aheadMost  = 8 << 20 // bytes that may wait
)

// readAhead reads a body in a goroutine of its own, up to aheadMost bytes ahead of its
// reader: an API server ends a list that is not read. Close ends the goroutine.
type readAhead struct {
	body   io.ReadCloser
	full   chan chunk
	free   chan []byte
	stop   chan struct{}
	once   sync.Once
	reader sync.WaitGroup
	at     chunk // what is read at present
	rest   []byte
}

type chunk struct {
	data []byte
	err  error // after data
}

func newReadAhead(body io.ReadCloser) *readAhead {
	r := &readAhead{
		body: body, stop: make(chan struct{}),
		full: make(chan chunk, aheadMost/aheadChunk), free: make(chan []byte, 4),
	}
	r.reader.Go(r.run)
	return r
}

func (r *readAhead) run() {
	for {
		var buf []byte
		select {
		case buf = <-r.free:
		default:
			buf = make([]byte, aheadChunk)
		}
		n, err := r.read(buf)
		select {
		case r.full <- chunk{buf[:n], err}:
		case <-r.stop:
			return
		}
		if err != nil {
			return
		}
	}
}

// read reads from the body, which may be a user's.
func (r *readAhead) read(buf []byte) (n int, err error) {
	defer usercode.Recover("Read of the body", store.Key{}, &err)
	return r.body.Read(buf)
}

// Read implements io.Reader.
func (r *readAhead) Read(p []byte) (int, error) {
	for len(r.rest) == 0 {
		if r.at.err != nil {
			return 0, r.at.err
		}
		if r.at.data != nil {
			select {
			case r.free <- r.at.data[:cap(r.at.data)]:
			default:
			}
		}
		select {
		case r.at = <-r.full:
			r.rest = r.at.data
		case <-r.stop:
			return 0, io.ErrClosedPipe
		}
	}
	n := copy(p, r.rest)
	r.rest = r.rest[n:]
	return n, nil
}

// Close closes the body, and returns when its goroutine has ended.
func (r *readAhead) Close() error {
	var err error
	r.once.Do(func() {
		close(r.stop)
		err = r.body.Close()
		r.reader.Wait()
	})
	return err
}
