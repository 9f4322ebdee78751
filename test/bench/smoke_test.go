// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package main

import (
	"os"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/watch"

	"go.uber.org/goleak"
)

// TestMain runs the tests, or, when the test binary was started by a test as a
// process of its own, what it was started for.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && commands[os.Args[1]] != nil {
		main()
		return
	}
	goleak.VerifyTestMain(m, goleak.IgnoreCurrent())
}

// TestDelivery: everybody sees the last version of everything, nothing comes in
// the wrong order, and the stores hold what the source does.
func TestDelivery(t *testing.T) {
	const n = 40
	pods := makePods(n)
	for _, c := range contestants {
		for _, l := range []load{
			{pods: pods, keys: n, rounds: 5, subs: 1, barrier: true},
			{pods: pods, keys: n, rounds: 5, subs: 3, barrier: true},
			{pods: pods, keys: 7, rounds: 50, subs: 3},
			{pods: pods, keys: 1, rounds: 50, subs: 2, barrier: true},
		} {
			r := measureEvents(c, l)
			for _, tr := range r.crew.trackers {
				if tr.backwards != 0 || tr.gone != 0 {
					t.Errorf("%s: %d versions went backwards, %d pods were deleted", c.name, tr.backwards, tr.gone)
				}
				for i, round := range tr.seen {
					want := uint32(1)
					if i < l.keys {
						want = uint32(l.rounds + 1)
					}
					if round != want {
						t.Errorf("%s: pod %d was last seen in round %d, want %d", c.name, i, round, want)
					}
				}
				if c.name != nameCilium && tr.repeated != 0 { // cilium may show a version twice
					t.Errorf("%s: %d versions were shown twice", c.name, tr.repeated)
				}
			}
			if want := l.keys * l.rounds * l.subs; l.barrier && r.delivered != want {
				t.Errorf("%s: %d events, want %d", c.name, r.delivered, want)
			}
			if len(r.stored) != n {
				t.Errorf("%s: %d pods in the store, want %d", c.name, len(r.stored), n)
			}
			src := newSource(pods)
			for round := range l.rounds {
				for i := range l.keys {
					pod := src.prepare(uint32(round+2), i)
					if got := r.stored[pod.Namespace+"/"+pod.Name]; round == l.rounds-1 && got != pod.ResourceVersion {
						t.Errorf("%s: the store has version %s of %s, want %s", c.name, got, pod.Name, pod.ResourceVersion)
					}
				}
			}
		}
	}
}

// TestDeletion: what is created and deleted is seen to be.
func TestDeletion(t *testing.T) {
	const n = 30
	pods := makePods(n)
	for _, c := range contestants {
		src := newSource(pods)
		src.pods = pods[:n/2]
		crew := newCrew(2, n)
		crew.expect(1, n/2)
		f := c.start(src, crew.observers())
		crew.wait()
		<-crew.synced
		f.waitSynced()
		src.pods = pods

		crew.expect(2, n/2)
		for i := n / 2; i < n; i++ {
			src.write(watch.Added, src.prepare(2, i))
		}
		crew.wait()
		if got := len(f.stored()); got != n {
			t.Errorf("%s: %d pods in the store, want %d", c.name, got, n)
		}
		crew.expect(0, n)
		for i := range n {
			src.write(watch.Deleted, src.prepare(3, i))
		}
		crew.wait()
		if got := len(f.stored()); got != 0 {
			t.Errorf("%s: %d pods in the store after all were deleted", c.name, got)
		}
		f.stop()
	}
}

// TestPods: a pod is what the README says, and survives encoding.
func TestPods(t *testing.T) {
	pod := makePod(12345)
	data, err := pod.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	var back corev1.Pod
	if err := back.Unmarshal(data); err != nil {
		t.Fatal(err)
	}
	t.Logf("a pod has %d bytes in protobuf", len(data))
	if round, i := parseGeneration(back.Generation); round != 1 || i != 12345 {
		t.Errorf("pod %d of round %d", i, round)
	}
}
