// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/apiary-go/apiary/cells"
	"github.com/apiary-go/apiary/fakeapi"
	"github.com/apiary-go/apiary/internal/cli"
	"github.com/apiary-go/apiary/internal/clitest"
)

func TestWaitCurrent(t *testing.T) {
	inWait(t, func(w *waiting) {
		w.add(conf(), web(3, 0), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "shop"}})
		w.start(shopManifest + confManifest + webManifest + podManifest + confManifest)
		w.stillRuns()
		var text strings.Builder
		for _, change := range []runtime.Object{
			pod("one", false), web(3, 2), conf(), pod("one", true), web(3, 3),
		} {
			text.WriteString(w.after(20 * time.Second))
			w.stillRuns()
			w.add(change)
		}
		w.mustEnd(0)
		clitest.Golden(t, text.String()+w.out.Take())
		for _, r := range w.api.Requests() {
			if r.Verb != "" && r.Verb != "list" && r.Verb != "watch" {
				t.Errorf("it asked to %s %s", r.Verb, r.Resource.Resource)
			}
		}
	})
}

// changeHook gets each change before the waiter goes on.
type changeHook struct {
	progressPrinter
	then func(row *boardRow)
}

func (h changeHook) changed(b *board, row *boardRow) {
	h.progressPrinter.changed(b, row)
	h.then(row)
}

// All objects must be Current at one moment: a change during the last event counts.
func TestWaitAllAtOnce(t *testing.T) {
	inWait(t, func(w *waiting) {
		w.add(web(1, 1))
		p := newProgram(cells.FakeClientWith(func() *fakeapi.Server { return w.api }), w.out)
		p.begin = time.Now()
		log := slog.New(slog.DiscardHandler)
		if err := p.hive.Start(log, w.t.Context()); err != nil {
			t.Fatal(err)
		}
		ids, err := readManifests([]string{"-"}, strings.NewReader(webManifest+confManifest), "shop")
		if err != nil {
			t.Fatal(err)
		}
		waiter := p.waiter(ids, goal{})
		waiter.printer = changeHook{waiter.printer, func(row *boardRow) {
			if row.id.Name == "conf" && row.met {
				w.add(web(1, 0))
				synctest.Wait() // the engine knows
			}
		}}
		w.ended = make(chan struct{})
		go func() {
			defer close(w.ended)
			w.err = waiter.run(w.t.Context())
		}()
		w.after(time.Minute)
		w.add(conf())
		w.after(time.Minute)
		w.stillRuns()
		w.add(web(1, 1))
		w.mustEnd(0)
		if err := p.hive.Stop(log, w.t.Context()); err != nil {
			t.Error(err)
		}
	})
}

func TestWaitDeleted(t *testing.T) {
	inWait(t, func(w *waiting) {
		going := conf()
		going.Finalizers = []string{"example.com/wait"}
		now := metav1.Now()
		going.DeletionTimestamp = &now
		w.add(going, crashing()) // what failed can go, too
		w.start(confManifest+podManifest+hivesManifest, "--for", "deleted")
		text := w.after(20 * time.Second)
		w.stillRuns()
		w.remove(conf())
		text += w.after(20 * time.Second)
		w.stillRuns()
		w.remove(crashing())
		w.mustEnd(0)
		clitest.Golden(t, text+w.out.Take())
	})
}

// What is created again under the name of an object that is gone does not count.
func TestWaitDeletedAndCreated(t *testing.T) {
	inWait(t, func(w *waiting) {
		w.add(conf(), crashing())
		w.start(confManifest+podManifest, "--for", "deleted")
		w.after(20 * time.Second)
		w.remove(conf())
		w.add(conf())
		clitest.Expect(t, w.after(20*time.Second), "ConfigMap/shop/conf  NotFound")
		w.stillRuns()
		w.remove(crashing())
		w.add(crashing())
		w.mustEnd(0)
	})
}

// A failure ends the wait also if the object is removed at once.
func TestWaitFailedAndRemoved(t *testing.T) {
	inWait(t, func(w *waiting) {
		w.add(conf(), pod("one", false))
		w.start(podManifest + confManifest + webManifest)
		w.after(20 * time.Second)
		w.add(crashing())
		w.remove(crashing())
		w.mustEnd(1)
		clitest.Expect(t, w.out.Take(), "failed: 1 of 3 are Current, 1 Failed")
	})
}

func TestWaitFailed(t *testing.T) {
	inWait(t, func(w *waiting) {
		w.add(conf(), pod("one", false))
		w.start(podManifest + confManifest + webManifest)
		text := w.after(20 * time.Second)
		w.stillRuns()
		w.add(crashing())
		begin := time.Now()
		w.mustEnd(1)
		if took := time.Since(begin); took > 0 {
			t.Errorf("it took %s to end", took)
		}
		clitest.Golden(t, text+w.out.Take())
	})
}

// Without --fail-fast it may recover; at the end of the time it has failed.
func TestWaitFailedAndRecovers(t *testing.T) {
	for _, recovers := range []bool{true, false} {
		t.Run(fmt.Sprint(recovers), func(t *testing.T) {
			inWait(t, func(w *waiting) {
				w.add(crashing())
				w.start(podManifest, "--fail-fast=false", "--timeout", "1m")
				clitest.Expect(t, w.after(50*time.Second), "Pod/shop/one  Failed")
				w.stillRuns()
				if recovers {
					w.add(pod("one", true))
					w.mustEnd(0)
					return
				}
				w.mustEnd(1)
				clitest.Expect(t, w.out.Take(), "timed out: 0 of 1 is Current, 1 Failed, 1m0s")
			})
		})
	}
}

func forbidden(r fakeapi.Request) error {
	return apierrors.NewForbidden(r.Resource.GroupResource(), r.Name, fmt.Errorf("User %q cannot %s resource %q", "jane", r.Verb, r.Resource.Resource))
}

// An object that cannot be read is shown with the reason, and so are the others.
func TestWaitTimeout(t *testing.T) {
	inWait(t, func(w *waiting) {
		w.api.Intercept(func(_ context.Context, r fakeapi.Request) error {
			if r.Resource.Resource == "pods" {
				return forbidden(r)
			}
			return nil
		})
		w.add(conf(), web(3, 1), pod("one", true))
		w.start(confManifest+strings.ReplaceAll(confManifest, "conf", "other")+webManifest+podManifest+hivesManifest, "--timeout", "90s")
		w.mustEnd(2)
		clitest.Golden(t, w.out.Take())
	})
}

// What is allowed and installed later is noticed.
func TestWaitForbiddenAndNotInstalled(t *testing.T) {
	inWait(t, func(w *waiting) {
		w.api.Intercept(func(_ context.Context, r fakeapi.Request) error {
			if r.Resource.Resource == "pods" {
				return forbidden(r)
			}
			return nil
		})
		w.add(pod("one", true))
		w.start(podManifest+hivesManifest, "--timeout", "0")
		clitest.Expect(t, w.after(time.Second), "Pod/shop/one     Forbidden    pods \"one\" is forbidden", `User "jane" cannot`, "Hive/shop/first  KindNotInstalled")
		w.after(time.Hour)
		w.stillRuns()
		w.api.Intercept(nil)
		clitest.Expect(t, w.after(time.Minute), "Pod/shop/one     Current")
		w.stillRuns()
		w.api.Install(fakeapi.Kind{Group: "example.com", Version: "v1", Kind: "Hive"})
		clitest.Expect(t, w.after(time.Minute), "Hive/shop/first  NotFound")
		w.stillRuns()
		w.add(&unstructured.Unstructured{Object: map[string]any{
			"apiVersion": "example.com/v1", "kind": "Hive", "metadata": map[string]any{"namespace": "shop", "name": "first"},
		}})
		w.mustEnd(0)
	})
}

// What is there does not count while nobody can say so.
func TestWaitStale(t *testing.T) {
	inWait(t, func(w *waiting) {
		w.add(conf())
		w.start(confManifest + podManifest)
		w.after(time.Second)
		w.api.Intercept(func(_ context.Context, r fakeapi.Request) error {
			if r.Resource.Resource == "configmaps" {
				return errors.New("connection refused")
			}
			return nil
		})
		w.api.Disconnect()
		clitest.Expect(t, w.after(time.Minute), "ConfigMap/shop/conf  Transient    last seen Current: ", "connection refused")
		w.add(pod("one", true))
		w.after(time.Minute)
		w.stillRuns()
		w.api.Intercept(nil)
		w.mustEnd(0)
	})
}

func TestWaitJobs(t *testing.T) {
	started := &batchv1.Job{ObjectMeta: inShop("task"), Status: batchv1.JobStatus{StartTime: &metav1.Time{Time: time.Unix(1, 0)}, Active: 1}}
	for policy, code := range map[string]int{"completed": 2, "started": 0} {
		t.Run(policy, func(t *testing.T) {
			inWait(t, func(w *waiting) {
				w.add(started)
				w.start(jobManifest, "--jobs", policy)
				w.mustEnd(code)
			})
		})
	}
}

func TestWaitInterrupted(t *testing.T) {
	for signal, code := range map[syscall.Signal]int{syscall.SIGINT: 130, syscall.SIGTERM: 143} {
		t.Run(signal.String(), func(t *testing.T) {
			inWait(t, func(w *waiting) {
				w.start(confManifest)
				w.after(time.Second)
				w.cancel(interrupted{signal})
				w.mustEnd(code)
				clitest.Expect(t, w.out.Take(), "  ConfigMap/shop/conf  NotFound", "interrupted: 0 of 1 is Current, 1s\n")
			})
		})
	}
}

func TestWaitForNothing(t *testing.T) {
	inWait(t, func(w *waiting) {
		w.start("# nothing\n")
		w.mustEnd(0)
		clitest.Expect(t, w.out.Take(), "nothing to wait for")
		if requests := w.api.Requests(); len(requests) > 0 {
			t.Errorf("%d requests were made", len(requests))
		}
	})
}

// Bad input is said before anything is asked.
func TestWaitBadInput(t *testing.T) {
	inWait(t, func(w *waiting) {
		w.start(confManifest + "kind: A")
		w.mustEnd(3)
		clitest.Expect(t, w.err.Error(), "standard input, document 2: apiVersion or kind is missing")
		if requests := w.api.Requests(); len(requests) > 0 {
			t.Errorf("%d requests were made", len(requests))
		}
	})
}

// A server that is not there is not waited for, one that refuses is there.
func TestWaitNoServer(t *testing.T) {
	for name, test := range map[string]struct {
		answer func(context.Context, fakeapi.Request) error
		code   int
		want   string
	}{
		"refused": {func(context.Context, fakeapi.Request) error { return errors.New("connection refused") }, 3, "no answer from http://fake.invalid: "},
		"silent": {func(ctx context.Context, _ fakeapi.Request) error {
			<-ctx.Done()
			return ctx.Err()
		}, 3, "no answer from http://fake.invalid: timed out"},
		"unauthorized": {func(context.Context, fakeapi.Request) error { return apierrors.NewUnauthorized("who are you?") }, 2, "timed out: 0 of 1"},
	} {
		t.Run(name, func(t *testing.T) {
			inWait(t, func(w *waiting) {
				w.api.Intercept(test.answer)
				w.start(confManifest, "--timeout", "30s")
				w.mustEnd(test.code)
				clitest.Expect(t, w.err.Error(), test.want)
			})
		})
	}
}

// An output that is closed, or that nobody reads, does not hold up the end.
func TestWaitWithoutOutput(t *testing.T) {
	inWait(t, func(w *waiting) {
		w.to = clitest.BrokenPipe{}
		w.start(confManifest)
		w.mustEnd(3)
		if !errors.Is(w.err, os.ErrClosed) {
			t.Errorf("it ended with %v", w.err)
		}
	})
	inWait(t, func(w *waiting) {
		reader, writer := io.Pipe()
		w.to = writer
		w.start(confManifest, "--timeout", "10s")
		w.mustEnd(2)
		if !errors.Is(w.err, cli.ErrBlocked) {
			t.Errorf("it ended with %v", w.err)
		}
		if err := reader.Close(); err != nil { // ends the write
			t.Error(err)
		}
	})
}
