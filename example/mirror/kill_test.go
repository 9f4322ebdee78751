// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

//go:build unix

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"

	"github.com/apiary-go/apiary/store"
)

// kills is how often the program is killed.
const kills = 12

// Config maps are changed at random, and the program is killed at random: early,
// while it writes, and when it has caught up. Whenever it is killed, the file is one
// to go on from, and in the end it is what the server has.
func (e *endToEnd) killed(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	configs := e.namespace(t, "killed")
	history := record(t, configs)
	stopChanging := configs.change(rand.New(rand.NewPCG(seed, 1)))

	db := filepath.Join(t.TempDir(), "mirror.db")
	args := []string{"--db", db, "--kubeconfig", e.cluster.Kubeconfig(), "--namespace", configs.namespace, "-v", "configmaps"}
	with, without := 0, 0
	for i := range kills {
		fresh := i%4 == 3
		if fresh {
			if err := os.Remove(db); err != nil {
				t.Fatal(err)
			}
		}
		p := e.start(t, args...)
		switch i % 4 {
		case 0: // at any moment from its start on
			p.wait("", never, after(rng, 400*time.Millisecond))
		case 1, 3: // while it writes, and in the first list of a file that is new
			n := 1 + rng.IntN(60)
			p.wait(fmt.Sprint(n, " lines"), func(text string) bool { return strings.Count(text, "\n") >= n }, nil)
		case 2: // some time after it has caught up
			p.wait("a version", upTo.MatchString, nil)
			p.wait("", never, after(rng, 400*time.Millisecond))
		}
		p.signal(os.Kill)
		p.mustEnd(-1)
		if _, err := os.Stat(db); err != nil && (i == 0 || fresh) {
			continue // it had not come that far
		}
		rows, resumeVersion := readRows(t, db, configs.namespace)
		t.Logf("kill %d: %d lines printed, %d rows, version %q", i, strings.Count(p.output.String(), "\n"), len(rows), resumeVersion)
		if resumeVersion != "" {
			with++
		} else {
			without++
		}
		history.check(rows, resumeVersion)
	}
	stopChanging()
	t.Logf("%d changes, %d kills with a version to resume from and %d without", history.len(), with, without)
	if with == 0 {
		t.Error("no kill came late enough for there to be a version to resume from")
	}

	last := number(t, configs.create("last"))
	p := e.start(t, args...)
	p.wait("the last version", func(text string) bool {
		versions := upTo.FindAllStringSubmatch(text, -1)
		return len(versions) > 0 && number(t, versions[len(versions)-1][1]) >= last
	}, nil)
	p.signal(os.Interrupt)
	p.mustEnd(0)
	configs.compare(db)
}

func never(string) bool { return false }

// after returns a channel for a random time.
func after(rng *rand.Rand, most time.Duration) <-chan time.Time {
	return time.After(time.Duration(rng.Int64N(int64(most))))
}

// change makes changes at random until the function that it returns is called.
func (m *configMaps) change(rng *rand.Rand) (stop func()) {
	done := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		there := map[string]bool{}
		pace := time.NewTicker(4 * time.Millisecond)
		defer pace.Stop()
		for {
			name := fmt.Sprintf("config-%d", rng.IntN(40))
			switch {
			case !there[name]:
				m.create(name)
				there[name] = true
			case rng.IntN(3) > 0:
				m.update(name)
			default:
				m.delete(name)
				there[name] = rng.IntN(2) == 0 // anew at once
				if there[name] {
					m.create(name)
				}
			}
			select {
			case <-pace.C:
			case <-done:
				return
			}
		}
	})
	return func() { close(done); wg.Wait() }
}

// compare expects the file to have what the server has.
func (m *configMaps) compare(path string) {
	m.t.Helper()
	list, err := m.client.CoreV1().ConfigMaps(m.namespace).List(m.t.Context(), metav1.ListOptions{})
	if err != nil {
		m.t.Fatal(err)
	}
	want := map[string]row{}
	for _, obj := range list.Items {
		want[obj.Name] = row{string(obj.UID), number(m.t, obj.ResourceVersion), obj.Data["is"]}
	}
	if got, _ := readRows(m.t, path, m.namespace); !maps.Equal(got, want) {
		m.t.Errorf("the file has\n%v\nand the server\n%v", got, want)
	}
}

// row is a row of the file, or a state of the server. The zero row is none.
type row struct {
	uid     string
	version int64
	is      string
}

// readRows reads the rows of a namespace by name.
func readRows(t *testing.T, path, namespace string) (rows map[string]row, resumeVersion string) {
	t.Helper()
	db, err := openBolt(path, true)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := db.close(); err != nil {
			t.Error(err)
		}
	}()
	rows = map[string]row{}
	resumeVersion, err = db.read(namespace+"/configmaps.v1", func(meta store.Meta, data []byte) error {
		var obj corev1.ConfigMap
		if err := json.Unmarshal(data, &obj); err != nil {
			return err
		}
		if obj.UID != meta.UID || obj.ResourceVersion != meta.Version || obj.Name != meta.Key.Name || obj.ManagedFields != nil {
			t.Errorf("%v: the object is %v", meta, obj)
		}
		rows[meta.Key.Name] = row{string(meta.UID), number(t, meta.Version), obj.Data["is"]}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return rows, resumeVersion
}

// number orders versions.
func number(t *testing.T, version string) int64 {
	t.Helper()
	n, err := strconv.ParseInt(version, 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// history is what happened in a namespace, as a watch of the test has it.
type history struct {
	configs *configMaps
	mu      sync.Mutex
	states  map[string][]state // by name, in order
	version int64              // of the last event
	more    chan struct{}      // closed, and replaced, with each event
	ended   bool
}

// state is what an object was from version on; a deletion has no row.
type state struct {
	version int64
	row     row
}

// record records until the end of the test.
func record(t *testing.T, configs *configMaps) *history {
	t.Helper()
	api := configs.client.CoreV1().ConfigMaps(configs.namespace)
	list, err := api.List(t.Context(), metav1.ListOptions{})
	if err != nil || len(list.Items) > 0 {
		t.Fatal(len(list.Items), err)
	}
	w, err := api.Watch(context.Background(), metav1.ListOptions{ResourceVersion: list.ResourceVersion})
	if err != nil {
		t.Fatal(err)
	}
	h := &history{configs: configs, states: map[string][]state{}, more: make(chan struct{})}
	var wg sync.WaitGroup
	wg.Go(func() {
		for event := range w.ResultChan() {
			h.add(event)
		}
	})
	t.Cleanup(func() {
		h.mu.Lock()
		h.ended = true
		h.mu.Unlock()
		w.Stop()
		wg.Wait()
	})
	return h
}

func (h *history) add(event watch.Event) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.ended {
		return // such as the error that the watch was stopped
	}
	obj, ok := event.Object.(*corev1.ConfigMap)
	if !ok {
		h.configs.t.Errorf("the watch of the test has %v", event)
		return
	}
	s := state{version: number(h.configs.t, obj.ResourceVersion)}
	if event.Type != watch.Deleted {
		s.row = row{string(obj.UID), s.version, obj.Data["is"]}
	}
	h.states[obj.Name] = append(h.states[obj.Name], s)
	h.version = s.version
	close(h.more)
	h.more = make(chan struct{})
}

// catchUp waits until everything that has happened is recorded.
func (h *history) catchUp() {
	h.configs.t.Helper()
	fence := "fence-" + strconv.Itoa(h.len())
	version := number(h.configs.t, h.configs.create(fence))
	deadline := time.After(patience)
	for {
		h.mu.Lock()
		more, reached := h.more, h.version >= version
		h.mu.Unlock()
		if reached {
			return
		}
		select {
		case <-more:
		case <-deadline:
			h.configs.t.Fatalf("the watch of the test does not get to version %d", version)
		}
	}
}

func (h *history) len() (n int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, states := range h.states {
		n += len(states)
	}
	return n
}

// check expects of each object the state that it had at the resume version, or a
// later one; at any time, if there is no such version.
func (h *history) check(rows map[string]row, resumeVersion string) {
	t := h.configs.t
	t.Helper()
	h.catchUp()
	h.mu.Lock()
	defer h.mu.Unlock()
	from := int64(0)
	if resumeVersion != "" {
		from = number(t, resumeVersion)
	}
	for name := range rows {
		if h.states[name] == nil {
			t.Errorf("there never was a %s", name)
		}
	}
	for name, states := range h.states {
		possible := []row{{}} // before the first
		for _, s := range states {
			if s.version <= from {
				possible = possible[:0]
			}
			possible = append(possible, s.row)
		}
		if !slices.Contains(possible, rows[name]) {
			t.Errorf("resume version %d: the row of %s is %v, want one of %v", from, name, rows[name], possible)
		}
	}
}
