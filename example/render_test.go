// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package main

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/cilium/hive/cell"

	"github.com/apiary-go/apiary/internal/cli"
	"github.com/apiary-go/apiary/internal/clitest"
)

// story makes changes one after another, and shows them with a printer.
type story struct {
	t *testing.T
	printer
	join *join
	now  picture
}

func newStory(t *testing.T, p printer) *story {
	return &story{t: t, printer: p, join: newJoin(), now: picture{Time: noon, Title: "Services and their pods, of https://192.0.2.1:6443"}}
}

func (s *story) happens(changes ...[]change) {
	s.t.Helper()
	all := slices.Concat(changes...)
	for i := range all {
		all[i].Time = s.now.Time
	}
	if err := s.changed(all); err != nil {
		s.t.Fatal(err)
	}
}

func (s *story) show() {
	s.t.Helper()
	s.now.Services, s.now.PodCount = s.join.rows(), s.join.podCount
	if err := s.draw(s.now); err != nil {
		s.t.Fatal(err)
	}
	s.now.Time = s.now.Time.Add(3 * time.Second)
}

// run shows a start, changes, a failure and its end.
func (s *story) run() {
	s.t.Helper()
	j := s.join
	s.show() // nothing yet
	s.happens(j.upsertService(service("shop", "web", "app=web")), j.upsertService(service("shop", "bank", "")))
	s.now.ServicesSynced = true
	s.now.Problems = []healthReport{{
		Scope: "Pod.v1", Level: cell.StatusDegraded, Reason: "cannot list: forbidden",
		Detail: "pods is forbidden: User \"jane\" cannot list resource \"pods\" (allow it)",
	}}
	s.show() // pods are forbidden
	s.now.Problems = nil
	s.now.PodsSynced = true
	s.happens(j.upsertPod(pod("shop", "web-1", "app=web", true)), j.upsertPod(pod("shop", "web-2", "app=web", false)),
		j.upsertPod(pod("shop", "lonely", "", false)), []change{{Change: synced}})
	s.show() // all is known
	s.show() // nothing happened
	s.happens(j.upsertPod(pod("shop", "web-2", "app=web", true)), j.deletePod(key("shop", "web-1")))
	s.show()
	s.happens(j.upsertService(service("shop", "cart", "app=cart")), j.upsertPod(pod("shop", "cart-1", "app=cart", false)))
	s.show()
	s.happens(j.deleteService(key("shop", "cart")))
	s.show()
	if err := s.close(s.now); err != nil {
		s.t.Fatal(err)
	}
}

func TestBlocks(t *testing.T) {
	var out bytes.Buffer
	newStory(t, newBlockPrinter(&out)).run()
	clitest.Golden(t, out.String())
}

func TestBlocksOfManyChanges(t *testing.T) {
	var out bytes.Buffer
	s := newStory(t, newBlockPrinter(&out))
	s.now.ServicesSynced, s.now.PodsSynced = true, true
	s.happens(s.join.upsertService(service("shop", "web", "app=web")))
	s.show()
	for range 15 {
		for _, ready := range []bool{true, false} {
			s.happens(s.join.upsertPod(pod("shop", "web-1", "app=web", ready)))
		}
	}
	s.show()
	clitest.Golden(t, out.String())
}

func TestLive(t *testing.T) {
	var out bytes.Buffer
	size := func() (int, int) { return 60, 20 }
	s := newStory(t, newLivePrinter(&out, size, true))
	s.now.Hint = "kubectl get pods"
	s.run()
	clitest.Golden(t, clitest.Readable.Replace(out.String()))
}

// No line is too long for the terminal, and there are not too many of them,
// however small it is.
func TestLiveFits(t *testing.T) {
	for _, size := range [][2]int{{200, 50}, {60, 20}, {30, 12}, {10, 5}, {3, 2}, {1, 1}} {
		var out bytes.Buffer
		p := newLivePrinter(&out, func() (int, int) { return size[0], size[1] }, false)
		s := newStory(t, p)
		for _, name := range strings.Split("abcdefghijklmnopqrstuvwxyz", "") {
			s.happens(s.join.upsertService(service("shop", name, "app="+name)))
		}
		s.now.Problems = []healthReport{{Scope: "Pod.v1", Level: cell.StatusDegraded, Reason: strings.Repeat("very ", 30) + "bad"}}
		s.show()
		text := strings.TrimSuffix(out.String(), cli.ToTheEnd)
		lines := strings.Split(strings.TrimPrefix(text, cli.EnterScreen+cli.Home), cli.EndOfLine+"\r\n")
		lines = lines[:len(lines)-1]
		if len(lines) > max(size[1]-1, 1) {
			t.Errorf("%v: %d lines", size, len(lines))
		}
		for _, l := range lines {
			if utf8.RuneCountInString(l) > size[0] {
				t.Errorf("%v: line %q is too long", size, l)
			}
		}
	}
}

func TestJSONLines(t *testing.T) {
	var out bytes.Buffer
	s := newStory(t, newJSONPrinter(&out))
	s.run()
	s.happens([]change{{Change: healthChanged, Component: "Pod.v1", Level: "ok", Message: "Pod.v1: synced"}})
	clitest.Golden(t, out.String())

	// Each line stands alone, and has what its change promises.
	promises := map[changeKind][]string{
		serviceAdded:   {"namespace", "service", "pods"},
		serviceUpdated: {"namespace", "service", "pods"},
		serviceRemoved: {"namespace", "service", "pods"},
		podJoined:      {"namespace", "service", "pods", "pod", "state"},
		podUpdated:     {"namespace", "service", "pods", "pod", "state", "was"},
		podLeft:        {"namespace", "service", "pods", "pod", "was", "reason"},
		synced:         {},
		healthChanged:  {"component", "level", "message"},
	}
	seen := map[changeKind]bool{}
	for text := range strings.Lines(out.String()) {
		var fields map[string]any
		if err := json.Unmarshal([]byte(text), &fields); err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		kind, _ := fields["change"].(string)
		if _, err := time.Parse(time.RFC3339Nano, fields["time"].(string)); err != nil {
			t.Error(err)
		}
		want, known := promises[changeKind(kind)]
		if !known {
			t.Errorf("unknown change %q", kind)
		}
		for _, name := range want {
			if fields[name] == nil {
				t.Errorf("%s lacks %s: %s", kind, name, text)
			}
		}
		seen[changeKind(kind)] = true
	}
	for _, kind := range []changeKind{serviceAdded, serviceRemoved, podJoined, podUpdated, podLeft, synced, healthChanged} {
		if !seen[kind] {
			t.Errorf("the story has no %s", kind)
		}
	}
}
