// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package record

import (
	"fmt"
	"sync"
	"sync/atomic"
)

// Switch starts and stops the recording of a source while the program runs. The zero Switch
// does not record. A Switch must belong to one source: see [NewSwitchedSource]. Its methods
// can be called from any goroutine.
type Switch struct {
	mu  sync.Mutex // of Start and Stop
	rec atomic.Pointer[recorder]
}

// Start starts a recording, and takes over the file: Stop closes it. It fails if an option is
// invalid, or if the Switch records already.
//
// Before the first call of the source, the recording has all calls, as with [NewSource].
// Later it begins with the next list of the newest state, which Resync of the resource
// requests. The calls before are not recorded. This list is recorded with all objects, also
// those that the sink has: they are decoded, and transformed, once more. So a replay needs
// only this file. The delays and fallbacks of failures from before are not in the file.
//
// If the file cannot be written, and at the limit of its size, the recording ends with a log
// line, and the file is closed.
func (s *Switch) Start(file *File, opts ...Option) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if path := s.Path(); path != "" {
		return fmt.Errorf("it is already recorded to %s", path)
	}
	r := newRecorder(file, opts)
	if r.invalid != nil {
		return r.invalid
	}
	r.of, r.file = s, file
	s.rec.Store(r)
	return nil
}

// Stop ends the recording, and closes its file. An event that the sink has not handled yet is
// not recorded. Without a recording it does nothing.
func (s *Switch) Stop() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r := s.rec.Swap(nil); r != nil {
		return r.stop()
	}
	return nil
}

// Path returns the path of the file that the Switch records to. It is empty without a
// recording.
func (s *Switch) Path() string {
	if r := s.rec.Load(); r != nil {
		return r.file.path
	}
	return ""
}
