// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package cells

import (
	"fmt"
	"strconv"
	"time"

	"github.com/apiary-go/apiary/informer/mirror"
	"github.com/apiary-go/apiary/informer/push"
	"github.com/apiary-go/apiary/resource"
)

func subscriberSection(sub resource.SubscriberStats, now time.Time) section {
	s := section{Title: "Subscriber " + sub.Site}
	if sub.Name != "" {
		s.Title = "Subscriber " + sub.Name
		s.add("Subscribed at", sub.Site)
	}
	s.add("Queued", strconv.Itoa(sub.Depth))
	s.add("Without Done", strconv.Itoa(sub.Outstanding))
	s.add("Retrying", strconv.Itoa(sub.Retrying))
	if sub.Replaying > 0 {
		s.add("To replay", strconv.Itoa(sub.Replaying))
	}
	if sub.Oldest > 0 {
		s.add("Oldest", span(sub.Oldest))
	}
	if sub.Errors > 0 {
		s.add("Errors", strconv.FormatUint(sub.Errors, 10))
	}
	worst := sub.Worst
	if worst == nil {
		s.add("Last error", errorText(sub.LastError))
		return s
	}
	s.bad("Failing key", fmt.Sprintf("%s, retries %d, since %s, next try %s", keyText(worst.Key), worst.Retries, when(worst.Since, now), age(worst.Next, now)))
	s.bad("Its error", errorText(worst.Err))
	if last := errorText(sub.LastError); last != errorText(worst.Err) {
		s.bad("Last error", last)
	}
	return s
}

func mirrorSection(m *mirror.InformerStats, now time.Time) section {
	s := section{Title: "Mirror"}
	s.add("Resume version", m.ResumeVersion)
	s.add("Recorded", strconv.Itoa(m.Recorded))
	s.add("Pending", pendingText(m.Pending, m.PendingBytes))
	if m.Failing > 0 {
		s.bad("Failing keys", strconv.Itoa(m.Failing))
	}
	if h := m.HeldBack; h != nil {
		held := fmt.Sprintf("%s, pending since %s", keyText(h.Key), when(h.Since, now))
		if h.Failures > 0 {
			s.bad("Held back by", fmt.Sprintf("%s, failures %d", held, h.Failures))
		} else {
			s.add("Held back by", held)
		}
		s.bad("Its error", errorText(h.Err))
	}
	if m.Pass.Remaining > 0 {
		s.add("Objects to read", strconv.FormatInt(m.Pass.Remaining, 10))
	}
	s.count("Handler added", m.Added)
	s.count("Handler updated", m.Updated)
	s.count("Handler deleted", m.Deleted)
	s.count("Handler got OnSync", m.Shown)
	s.count("Not kept", m.NotKept)
	s.count("Handler failures", m.Failures)
	s.count("Unchanged in lists", m.Unchanged)
	s.count("Deleted by lists", m.Swept)
	s.count("Not newer", m.Stale)
	s.count("Panics", m.Panics)
	return s
}

func pushSection(p *push.BatcherStats) section {
	s := section{Title: "Push"}
	s.add("Accepted objects", strconv.Itoa(p.Accepted))
	s.add("Pending", pendingText(p.Pending, p.PendingBytes))
	if p.Failing > 0 {
		s.bad("Failing keys", strconv.Itoa(p.Failing))
	}
	if p.Dead > 0 {
		s.bad("Dead letters", strconv.Itoa(p.Dead))
	}
	s.count("Snapshots", p.Snapshots)
	s.count("Batches", p.Batches)
	s.count("Changes", p.Changes)
	s.count("Failed batches", p.Failures)
	s.count("Refused objects", p.Refused)
	s.count("Nothing to deliver", p.Vanished)
	s.count("Not newer", p.Stale)
	s.count("In a snapshot", p.Fenced)
	s.count("Panics", p.Panics)
	return s
}

func pendingText(n int, bytes int64) string {
	if n == 0 {
		return "0"
	}
	return fmt.Sprintf("%d (about %d bytes)", n, bytes)
}
