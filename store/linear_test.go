// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package store_test

import (
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/apiary-go/apiary/store"
)

// TestLinearizable has many writers and readers of one Indexer, and checks the
// record of what each wrote, read and when: there must be an order of all of it in
// which each read sees the last write. Each key has one writer, whose versions
// grow, so that comes down to this: a read sees nothing that is older than the last
// write that had ended, or than what any read saw that had ended, before it began,
// and nothing that had not begun before it ended. Pairs of keys are written at once,
// so whoever reads all of a state sees the same version of both.
func TestLinearizable(t *testing.T) {
	const writers, readers, writes = 4, 4, 400
	x, err := store.NewIndexer(store.MetaNamespaceKeyFunc[*corev1.Pod], store.Indexers[*corev1.Pod]{"node": nodeOf})
	if err != nil {
		t.Fatal(err)
	}
	var clock atomic.Int64
	var record [2 * writers]history // by key

	pod := func(key, version int) *corev1.Pod {
		return &corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprint("pod-", key), UID: "u", ResourceVersion: fmt.Sprint(version)},
			Spec:       corev1.PodSpec{NodeName: fmt.Sprint("node-", version%2)},
		}
	}
	var written, done sync.WaitGroup
	for w := range writers {
		written.Go(func() {
			for version := 1; version <= writes; version++ {
				began := clock.Add(1)
				var writes []store.Write[*corev1.Pod]
				for _, p := range []*corev1.Pod{pod(2*w, version), pod(2*w+1, version)} {
					writes = append(writes, store.Write[*corev1.Pod]{Meta: store.MetaOf(p), Object: p})
				}
				_, err := x.Write(writes...)
				if err != nil {
					t.Error(err)
				}
				ended := clock.Add(1)
				record[2*w].wrote(version, began, ended)
				record[2*w+1].wrote(version, began, ended)
			}
		})
	}
	var stop atomic.Bool
	versionOf := func(p *corev1.Pod) (version int) {
		_, _ = fmt.Sscan(p.ResourceVersion, &version)
		return version
	}
	// Each of these returns the versions that it read, by key; -1: it did not look.
	ways := []func(n int) []int{
		func(n int) []int {
			versions := slices.Repeat([]int{-1}, 2*writers)
			key := n % (2 * writers)
			versions[key] = 0
			if p, ok := x.Get(store.Key{Name: fmt.Sprint("pod-", key)}); ok {
				versions[key] = versionOf(p)
			}
			return versions
		},
		func(int) []int { return byKey(x.List(), versionOf) },
		func(int) []int { return byKey(x.Snapshot().List(), versionOf) },
		func(int) []int {
			snap := x.Snapshot()
			byNode, err := snap.Index("node")
			if err != nil {
				t.Error(err)
				return nil
			}
			return byKey(append(byNode.List("node-0"), byNode.List("node-1")...), versionOf)
		},
	}
	for r := range readers {
		done.Go(func() {
			for n := r; !stop.Load(); n++ {
				began := clock.Add(1)
				versions := ways[n/3%len(ways)](n)
				ended := clock.Add(1)
				for key, version := range versions {
					if version == -1 {
						continue
					}
					record[key].read(version, began, ended)
					if other := versions[key^1]; other != -1 && other != version {
						t.Errorf("a read saw the versions %d and %d of a pair", version, other)
					}
				}
			}
		})
	}
	written.Wait()
	stop.Store(true)
	done.Wait()
	reads := 0
	for key := range record {
		record[key].check(t, key)
		reads += len(record[key].reads)
	}
	if reads == 0 {
		t.Error("nothing was read")
	}
	t.Logf("%d writes, %d reads", writers*writes, reads)
}

func byKey(pods []*corev1.Pod, versionOf func(*corev1.Pod) int) []int {
	versions := make([]int, 8)
	for _, p := range pods {
		var key int
		_, _ = fmt.Sscanf(p.Name, "pod-%d", &key)
		versions[key] = versionOf(p)
	}
	return versions
}

// history is what was written to and read of one key.
type history struct {
	mu            sync.Mutex
	writes, reads []access
}

type access struct {
	version      int
	began, ended int64
}

func (h *history) wrote(version int, began, ended int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.writes = append(h.writes, access{version, began, ended})
}

func (h *history) read(version int, began, ended int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.reads = append(h.reads, access{version, began, ended})
}

func (h *history) check(t *testing.T, key int) {
	for _, r := range h.reads {
		// The writes are in order.
		least, _ := slices.BinarySearchFunc(h.writes, r.began, func(w access, began int64) int { return int(w.ended - began) })
		most, _ := slices.BinarySearchFunc(h.writes, r.ended, func(w access, ended int64) int { return int(w.began - ended) })
		if r.version < least || r.version > most {
			t.Errorf("key %d: a read saw version %d, want one of %d to %d", key, r.version, least, most)
		}
	}
	ended := slices.Clone(h.reads)
	slices.SortFunc(ended, func(a, b access) int { return int(a.ended - b.ended) })
	slices.SortFunc(h.reads, func(a, b access) int { return int(a.began - b.began) })
	newest, i := 0, 0
	for _, r := range h.reads {
		for ; i < len(ended) && ended[i].ended < r.began; i++ {
			newest = max(newest, ended[i].version)
		}
		if r.version < newest {
			t.Errorf("key %d: a read saw version %d, one before it saw %d", key, r.version, newest)
		}
	}
}
