// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package main

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/apiary-go/apiary/internal/cli"
	"github.com/apiary-go/apiary/internal/clitest"
	"github.com/apiary-go/apiary/status"
)

func screen(width, height int) func() (int, int) { return func() (int, int) { return width, height } }

// The bytes for a terminal after changes, as time passes, and at the end.
func TestWaitScreen(t *testing.T) {
	t.Setenv("NO_COLOR", "")
	inWait(t, func(w *waiting) {
		w.add(conf(), web(3, 0))
		w.startOn(screen(60, 6), confManifest+webManifest+podManifest)
		text := w.after(150 * time.Millisecond)
		w.add(web(3, 2), pod("one", true))
		text += w.after(2 * time.Second)
		w.add(web(3, 3))
		w.mustEnd(0)
		clitest.Golden(t, clitest.Readable.Replace(text+w.out.Take()))
	})
}

// There are more objects than lines, and one of them fails.
func TestWaitScreenOfMany(t *testing.T) {
	t.Setenv("NO_COLOR", "1")
	inWait(t, func(w *waiting) {
		var manifests strings.Builder
		for i := range 8 {
			fmt.Fprintf(&manifests, "apiVersion: v1\nkind: Pod\nmetadata: {name: p%d}\n---\n", i)
			w.add(pod(fmt.Sprintf("p%d", i), i%2 == 0))
		}
		w.add(crashing())
		w.startOn(screen(60, 6), manifests.String()+podManifest, "--fail-fast=false", "--timeout", "1500ms")
		w.mustEnd(1)
		text := w.out.Take()
		if strings.Contains(text, "\x1b[3") {
			t.Error("there are colours")
		}
		clitest.Golden(t, clitest.Readable.Replace(text))
	})
}

// However small the terminal is, no line is too long for it, and there are not too many;
// and what comes from elsewhere moves no cursor.
func TestWaitScreenFits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var ids []status.ID
		for i := range 30 {
			ids = append(ids, status.ID{Namespace: "shop", Name: fmt.Sprintf("ö%d", i), GroupKind: schema.GroupKind{Kind: "Pod"}})
		}
		b := newBoard(ids, goal{})
		for i, id := range ids {
			b.take(status.ObjectStatus{ID: id, Status: status.Unknown, Reason: status.Transient, Err: errors.New(strings.Repeat("a\x1b[2J\r\n\tb ", i))})
		}
		for _, size := range [][2]int{{200, 50}, {60, 20}, {30, 12}, {10, 5}, {3, 2}, {2, 3}, {1, 1}} {
			for _, styled := range []bool{false, true} {
				var out bytes.Buffer
				if err := newScreenPrinter(&out, screen(size[0], size[1]), styled).draw(b); err != nil {
					t.Fatal(err)
				}
				text := strings.NewReplacer(cli.EnterScreen, "", cli.Home, "", cli.ToTheEnd, "", cli.Yellow, "", cli.Plain, "", cli.EndOfLine+"\r\n", "\n").Replace(out.String())
				lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
				if len(lines) > max(size[1]-1, 1) {
					t.Errorf("%v: %d lines", size, len(lines))
				}
				for _, l := range lines {
					if utf8.RuneCountInString(l) > size[0] || strings.ContainsAny(l, "\x1b\r\t") {
						t.Errorf("%v: line %q", size, l)
					}
				}
			}
		}
	})
}

// Two kinds of the same name are shown with their groups.
func TestWaitNames(t *testing.T) {
	id := func(group, kind string) status.ID {
		return status.ID{Namespace: "shop", Name: "a", GroupKind: schema.GroupKind{Group: group, Kind: kind}}
	}
	b := newBoard([]status.ID{id("", "Service"), id("serving.knative.dev", "Service"), id("apps", "Deployment")}, goal{})
	var got []string
	for _, row := range b.rows {
		got = append(got, row.name())
	}
	if want := "Service/shop/a Service.serving.knative.dev/shop/a Deployment/shop/a"; strings.Join(got, " ") != want {
		t.Errorf("%q, want %q", got, want)
	}
}
