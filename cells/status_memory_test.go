// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package cells

import (
	"context"
	"fmt"
	"runtime"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/apiary-go/apiary/informer"
	"github.com/apiary-go/apiary/status"
)

// Objects that are few in each of their namespaces are read one by one. What that takes
// has to do with objects, and not with the tables that many of them would share.
func TestStatusMemoryOfSingleObjects(t *testing.T) {
	listed, streamed := heapOfStatuses(t, false), heapOfStatuses(t, true)
	t.Logf("a status takes %d KB, read as a stream %d KB", listed>>10, streamed>>10)
	if streamed > 3*listed {
		t.Errorf("a status takes %d KB read as a stream, and %d KB without", streamed>>10, listed>>10)
	}
}

// heapOfStatuses is what each of many statuses takes that have a scope of their own.
func heapOfStatuses(t *testing.T, streams bool) uint64 {
	t.Helper()
	api := NewFakeAPI()
	clients := fakeClients(t, api)
	var ids []status.ID
	for i := range 120 {
		namespace, name := fmt.Sprint("ns", i/3), fmt.Sprint("pod", i%3)
		if err := api.Add(podIn(corev1.PodRunning, namespace, name, 0)); err != nil {
			t.Fatal(err)
		}
		ids = append(ids, idOf("Pod", namespace, name))
	}
	var stream informer.StreamFunc
	if streams {
		stream = clients.State.stream
	}
	before := heap()
	engine, err := status.New(status.Config{
		Dynamic: clients.Dynamic, Metadata: clients.Metadata, Stream: stream, Mapping: (&statusKinds{kinds: clients.State.kinds}).mapping, Log: quiet(),
	})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := engine.Stop(context.Background()); err != nil {
			t.Error(err)
		}
	}()
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
	return (heap() - before) / uint64(len(ids))
}

// heap is what is in use once what is not was freed.
func heap() uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
