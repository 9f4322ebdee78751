// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

// Package tail keeps the end of a log.
package tail

import (
	"bytes"
	"io"
	"strings"
	"sync"
)

// Writer keeps the last Max lines, and writes everything to Next.
type Writer struct {
	Max  int
	Next io.Writer // can be nil

	mu   sync.Mutex
	kept []string
	part []byte
}

// Write implements io.Writer. It never fails.
func (w *Writer) Write(b []byte) (int, error) {
	w.keep(b)
	if w.Next != nil {
		// An error of the log must not stop the server.
		_, _ = w.Next.Write(b)
	}
	return len(b), nil
}

func (w *Writer) keep(b []byte) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.part = append(w.part, b...)
	for {
		i := bytes.IndexByte(w.part, '\n')
		if i < 0 {
			return
		}
		w.kept = append(w.kept, string(w.part[:i]))
		w.part = w.part[i+1:]
		if len(w.kept) > w.Max {
			w.kept = w.kept[len(w.kept)-w.Max:]
		}
	}
}

// Lines returns a copy of the kept lines, oldest first.
func (w *Writer) Lines() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	lines := append([]string(nil), w.kept...)
	if len(w.part) > 0 {
		lines = append(lines, string(w.part))
	}
	return lines
}

// Text returns the introduction followed by the kept lines, for the end of an error
// message. It returns an empty string if there are no lines.
func (w *Writer) Text(introduction string) string {
	lines := w.Lines()
	if len(lines) == 0 {
		return ""
	}
	return introduction + "\n  " + strings.Join(lines, "\n  ")
}
