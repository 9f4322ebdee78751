// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package source

import (
	"bytes"
	"errors"
	"io"
	"sync/atomic"
	"testing"
	"testing/iotest"
	"testing/synctest"
)

// countedBody knows how much of it was read, and whether it is closed.
type countedBody struct {
	io.Reader
	read   atomic.Int64
	closed atomic.Int64
}

func (b *countedBody) Read(p []byte) (int, error) {
	n, err := b.Reader.Read(p)
	b.read.Add(int64(n))
	return n, err
}

func (b *countedBody) Close() error {
	b.closed.Add(1)
	return nil
}

// A body is read to its end though nobody takes what is read, but no more than the
// limit of it, and comes out as it went in.
func TestReadAhead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, size := range []int{0, 1, aheadChunk, 5*aheadChunk + 1, 2 * aheadMost} {
			data := bytes.Repeat([]byte("0123456789"), size/10+1)[:size]
			b := &countedBody{Reader: bytes.NewReader(data)}
			r := newReadAhead(b)
			synctest.Wait()
			if got, least, most := int(b.read.Load()), min(size, aheadMost), aheadMost+2*aheadChunk; got < least || got > most {
				t.Errorf("%d of %d bytes were read ahead", got, size)
			}
			got, err := io.ReadAll(iotest.HalfReader(r))
			if err != nil || !bytes.Equal(got, data) {
				t.Errorf("%d bytes, %v; want %d", len(got), err, size)
			}
			if err := errors.Join(r.Close(), r.Close()); err != nil || b.closed.Load() != 1 {
				t.Errorf("closed %d times, %v", b.closed.Load(), err)
			}
		}
	})
}

// Close ends what reads ahead, whatever it does.
func TestReadAheadClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		full := newReadAhead(&countedBody{Reader: bytes.NewReader(make([]byte, 2*aheadMost))})
		synctest.Wait()
		_ = full.Close()
		in, out := io.Pipe()
		defer out.Close()
		waits := newReadAhead(in)
		synctest.Wait()
		_ = waits.Close()
		if _, err := waits.Read(make([]byte, 1)); err == nil {
			t.Error("something was read after Close")
		}
	})
}

// An error of the body is returned after the bytes that came before it.
func TestReadAheadFails(t *testing.T) {
	broken := errors.New("connection reset")
	r := newReadAhead(&countedBody{Reader: io.MultiReader(bytes.NewReader(make([]byte, 100)), iotest.ErrReader(broken))})
	defer r.Close()
	data, err := io.ReadAll(r)
	if len(data) != 100 || !errors.Is(err, broken) {
		t.Errorf("%d bytes, %v", len(data), err)
	}
}
