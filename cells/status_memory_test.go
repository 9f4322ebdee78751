// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package cells

import (
	"fmt"
	"runtime"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/apiary-go/apiary/fakeapi"
	"github.com/apiary-go/apiary/informer/source"
	"github.com/apiary-go/apiary/status"
)

// Objects that are few in each of their namespaces are read one by one. What that takes
// has to do with objects, and not with the tables that many of them would share.
func TestStatusMemoryOfSingleObjects(t *testing.T) {
	const most = 128 // KB; tables take 520
	listed, streamed := heapOfStatuses(t, false), heapOfStatuses(t, true)
	t.Logf("a status takes %d KB, read as a stream %d KB", listed, streamed)
	if streamed > most {
		t.Errorf("a status takes %d KB read as a stream, and %d KB without: want at most %d KB", streamed, listed, most)
	}
}

// heapOfStatuses is how many KB each of many statuses takes that have a scope of their own.
func heapOfStatuses(t *testing.T, streams bool) int {
	t.Helper()
	api := fakeapi.New()
	clients := fakeClients(t, api)
	var ids []status.ID
	for i := range 120 {
		namespace, name := fmt.Sprint("ns", i/3), fmt.Sprint("pod", i%3)
		if err := api.Add(podIn(corev1.PodRunning, namespace, name, 0)); err != nil {
			t.Fatal(err)
		}
		ids = append(ids, idOf("Pod", namespace, name))
	}
	var stream source.StreamFunc
	if streams {
		stream = clients.State.stream
	}
	before := heap()
	engine, stop := statusEngine(t, clients, status.Config{Dynamic: clients.Dynamic, Metadata: clients.Metadata, Stream: stream})
	defer stop()
	w, err := engine.Watch(soon(t), ids...)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	for ev := range w.Events() {
		if ev.Type == status.Synced {
			break
		}
	}
	return (heap() - before) / len(ids) >> 10
}

// heap is what is in use once what is not was freed.
func heap() int {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc)
}
