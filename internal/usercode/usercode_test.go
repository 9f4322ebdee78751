// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package usercode

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/apiary-go/apiary/store"
)

var (
	errTest = errors.New("test")
	key     = store.Key{Namespace: "ns", Name: "a"}
)

func logged() (*bytes.Buffer, *slog.Logger) {
	out := &bytes.Buffer{}
	return out, slog.New(slog.NewTextHandler(out, nil))
}

// A thousand panics of a function are logged once, and once more after a minute. All are
// counted. Another function, and the same function of another subscriber, is logged
// separately.
func TestReportsAreThrottled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out, log := logged()
		p := New("pods", log)
		lines := func(want int) {
			t.Helper()
			if got := strings.Count(out.String(), "\n"); got != want {
				t.Fatalf("%d lines, want %d:\n%s", got, want, out)
			}
		}
		fail := func() { panic(errTest) }
		for range 1000 {
			_ = p.Call("filter", "main.go:1", key, fail)
		}
		lines(1)
		_ = p.Call("filter", "main.go:2", key, fail)
		_ = p.Call("observer", "", key, fail)
		lines(3)
		time.Sleep(reportEvery - time.Nanosecond)
		_ = p.Call("filter", "main.go:1", key, fail)
		lines(3)
		time.Sleep(time.Nanosecond)
		_ = p.Call("filter", "main.go:1", key, fail)
		lines(4)
		for _, want := range []string{"panics=1 ", "panics=1002 ", "resource=pods", "function=filter", "key=ns/a", "usercode_test.go"} {
			if !strings.Contains(out.String(), want) {
				t.Errorf("%q is missing in %s", want, out)
			}
		}
		if p.Count() != 1004 {
			t.Errorf("%d panics", p.Count())
		}
	})
}

// The error of a panic has its details, and wraps its value.
func TestPanicIsAnError(t *testing.T) {
	_, log := logged()
	p := New("pods", log)
	called := p.Call("filter", "main.go:1", key, func() { panic(errTest) })
	recovered := func() (err error) {
		defer Recover("transform", key, &err)
		panic(errTest)
	}()
	for want, err := range map[string]error{
		`resource pods: filter of the subscriber of main.go:1 panicked on key "ns/a": test`: called,
		`transform panicked on key "ns/a": test`:                                            recovered,
	} {
		var panicked *store.PanicError
		if !errors.As(err, &panicked) || !errors.Is(err, errTest) || err.Error() != want || !bytes.Contains(panicked.Stack, []byte("usercode_test.go")) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
	if err := p.Call("filter", "", key, func() {}); err != nil || p.Count() != 1 {
		t.Errorf("got %v, %d panics", err, p.Count())
	}
}

type badHandler struct{ slog.Handler }

// A panic of the logger, and an error without a panic, have no effect.
func TestReportNeverPanics(t *testing.T) {
	p := New("pods", slog.New(badHandler{}))
	if err := p.Call("filter", "", key, func() { panic("filter") }); err == nil {
		t.Error("no error")
	}
	p.Report(errTest)
	p.Report(nil)
	if p.Count() != 1 {
		t.Errorf("%d panics", p.Count())
	}
}
