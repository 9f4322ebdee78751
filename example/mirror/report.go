// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package main

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"

	"github.com/apiary-go/apiary/informer/mirror"
	"github.com/apiary-go/apiary/store"
)

// printer prints lines, from any goroutine.
type printer struct {
	mu      sync.Mutex
	out     io.Writer
	verbose bool
}

// line prints a line. It ignores an error of the write.
func (p *printer) line(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	_, _ = fmt.Fprintf(p.out, format+"\n", args...)
}

// detail prints a line if --verbose is set.
func (p *printer) detail(format string, args ...any) {
	if p.verbose {
		p.line(format, args...)
	}
}

func (m *copier) printProgress() {
	pass := m.informer.Stats().Pass
	more := ""
	if pass.Remaining >= 0 {
		more = fmt.Sprintf(", and %d more", pass.Remaining)
	}
	m.print.line("%s: listing: %s so far%s", m, count(pass.Objects, "object"), more)
}

func (m *copier) printListed(reason store.Reason, before mirror.InformerStats) {
	s := m.informer.Stats()
	why := ""
	if reason == store.ReasonExpired {
		why = ", since the server no longer has the version to resume from"
	}
	m.print.line("%s: listed%s: %s, %s", m, why, count(s.Recorded, "object"), changes(before, s))
}

// printResumed prints that the mirror resumed without a list. After a list, printListed
// prints a line.
func (m *copier) printResumed() {
	if s := m.informer.Stats(); s.Reflector.Epoch == 0 {
		m.print.line("%s: resumed from version %s: %s, %s", m, m.resumedFrom, count(s.Recorded, "object"), changes(mirror.InformerStats{}, s))
	}
}

// printSummary prints the last line. It counts the lists that have begun.
func (m *copier) printSummary() {
	s := m.informer.Stats()
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s, %s, %s", m, count(s.Recorded, "object"), changes(mirror.InformerStats{}, s), count(s.Reflector.Epoch, "list"))
	if s.ResumeVersion == "" {
		b.WriteString(", will list at the next start")
	} else {
		fmt.Fprintf(&b, ", will resume from version %s", s.ResumeVersion)
	}
	if s.Pending > 0 {
		fmt.Fprintf(&b, ", %s not written", count(s.Pending, "change"))
	}
	if s.HeldBack != nil && s.HeldBack.Err != nil && !errors.Is(s.HeldBack.Err, errStopped) {
		fmt.Fprintf(&b, ", %s failed: %v", s.HeldBack.Key, s.HeldBack.Err)
	}
	m.print.line("%s", &b)
}

// changes counts the writes between two moments.
func changes(from, to mirror.InformerStats) string {
	return fmt.Sprintf("%d written, %d deleted", to.Added+to.Updated-from.Added-from.Updated, to.Deleted-from.Deleted)
}
