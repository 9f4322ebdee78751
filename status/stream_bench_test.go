// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package status_test

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"runtime"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"

	"github.com/apiary-go/apiary/informer/source"
	"github.com/apiary-go/apiary/status"
)

// benchPod is one of the Pods of a Deployment, in about 3 KB.
func benchPod(i int) string {
	container := func(name string) string {
		return fmt.Sprintf(`{"name":%q,"image":"registry.example.com/shop/%[1]s:1.4.2","args":["--config=/etc/shop/config.yaml","--listen=:8080"],`+
			`"ports":[{"name":"http","containerPort":8080,"protocol":"TCP"}],"env":[{"name":"LOG_LEVEL","value":"info"},{"name":"REGION","value":"eu-1"}],`+
			`"resources":{"requests":{"cpu":"100m","memory":"128Mi"},"limits":{"memory":"256Mi"}},"volumeMounts":[{"name":"config","mountPath":"/etc/shop"}],`+
			`"terminationMessagePath":"/dev/termination-log","imagePullPolicy":"IfNotPresent"}`, name)
	}
	state := func(name string) string {
		return fmt.Sprintf(`{"name":%q,"ready":true,"started":true,"restartCount":0,"image":"registry.example.com/shop/%[1]s:1.4.2","lastState":{},`+
			`"imageID":"registry.example.com/shop/%[1]s@sha256:%064[2]x","containerID":"containerd://%064[2]x","state":{"running":{"startedAt":"2026-01-02T03:04:05Z"}}}`, name, i)
	}
	condition := func(name string) string {
		return fmt.Sprintf(`{"type":%q,"status":"True","lastProbeTime":null,"lastTransitionTime":"2026-01-02T03:04:05Z"}`, name)
	}
	return fmt.Sprintf(`{"apiVersion":"v1","kind":"Pod","metadata":{"name":"web-5d8f7c9b6-%05d","generateName":"web-5d8f7c9b6-","namespace":"shop","uid":"6f9619ff-8b86-4011-b42d-%012[1]x",`+
		`"resourceVersion":"%[2]d","generation":1,"creationTimestamp":"2026-01-02T03:04:05Z","labels":{"app.kubernetes.io/name":"web","app.kubernetes.io/part-of":"shop","pod-template-hash":"5d8f7c9b6"},`+
		`"annotations":{"prometheus.io/scrape":"true","prometheus.io/port":"9090"},"ownerReferences":[{"apiVersion":"apps/v1","kind":"ReplicaSet","name":"web-5d8f7c9b6","uid":"0e37df36-f698-4a3e-9a4f-000000000001","controller":true,"blockOwnerDeletion":true}],`+
		`"managedFields":[{"manager":"kubelet","operation":"Update","apiVersion":"v1","time":"2026-01-02T03:04:05Z","fieldsType":"FieldsV1","subresource":"status","fieldsV1":{"f:status":{"f:conditions":{"k:{\"type\":\"Ready\"}":{".":{},"f:lastProbeTime":{},"f:lastTransitionTime":{},"f:status":{},"f:type":{}}},"f:containerStatuses":{},"f:hostIP":{},"f:phase":{},"f:podIP":{},"f:startTime":{}}}}]},`+
		`"spec":{"containers":[%s,%s],"nodeName":"node-%[5]d","restartPolicy":"Always","dnsPolicy":"ClusterFirst","serviceAccountName":"web","volumes":[{"name":"config","configMap":{"name":"web"}}]},`+
		`"status":{"phase":"Running","hostIP":"192.168.0.1","podIP":"10.0.0.1","podIPs":[{"ip":"10.0.0.1"}],"startTime":"2026-01-02T03:04:05Z","qosClass":"Burstable","conditions":[%s,%s,%s,%s],"containerStatuses":[%s,%s]}}`,
		i, i+1, container("server"), container("proxy"), i/30,
		condition("PodScheduled"), condition("Initialized"), condition("ContainersReady"), condition("Ready"), state("server"), state("proxy"))
}

// benchServer serves Pods, as initial events and as a list, from memory.
func benchServer(b *testing.B, n int) (config *rest.Config, size int) {
	var list, events bytes.Buffer
	list.WriteString(`{"kind":"PodList","apiVersion":"v1","metadata":{"resourceVersion":"100000"},"items":[`)
	for i := range n {
		pod := benchPod(i)
		size += len(pod)
		if i > 0 {
			list.WriteByte(',')
		}
		list.WriteString(pod)
		fmt.Fprintf(&events, `{"type":"ADDED","object":%s}`+"\n", pod)
	}
	list.WriteString(`]}`)
	events.WriteString(`{"type":"BOOKMARK","object":{"kind":"Pod","apiVersion":"v1","metadata":{"resourceVersion":"100000","annotations":{"k8s.io/initial-events-end":"true"}}}}` + "\n")
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		query := r.URL.Query()
		if query.Get("watch") == "" {
			_, _ = w.Write(list.Bytes())
			return
		}
		if query.Get("sendInitialEvents") == "true" {
			_, _ = w.Write(events.Bytes())
		}
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	}))
	b.Cleanup(srv.Close)
	return &rest.Config{Host: srv.URL, QPS: -1}, size / n
}

// What it takes until the statuses of all Pods of a namespace are known, with the bodies
// of responses read as streams with a mask, beside the dynamic client; in turns. The
// server, which is in the same process, sends what it has in memory.
func BenchmarkStream(b *testing.B) {
	const n = 2000
	config, size := benchServer(b, n)
	client, err := dynamic.NewForConfig(config)
	if err != nil {
		b.Fatal(err)
	}
	stream, err := source.NewStreamFunc(config, nil)
	if err != nil {
		b.Fatal(err)
	}
	mapper := meta.NewDefaultRESTMapper([]schema.GroupVersion{{Version: "v1"}})
	mapper.Add(schema.GroupVersionKind{Version: "v1", Kind: "Pod"}, meta.RESTScopeNamespace)
	ids := make([]status.ID, n)
	for i := range ids {
		ids[i] = status.ID{GroupKind: pods, Namespace: "shop", Name: fmt.Sprintf("web-5d8f7c9b6-%05d", i)}
	}
	type cost struct {
		time  time.Duration
		bytes uint64
	}
	read := func(stream source.StreamFunc) (c cost) {
		engine, err := status.New(status.Config{Dynamic: client, Stream: stream, Mapping: status.ByMapper(mapper)})
		if err != nil {
			b.Fatal(err)
		}
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		start := time.Now()
		w, err := engine.Watch(b.Context(), ids...)
		if err != nil {
			b.Fatal(err)
		}
		for ev := range w.Events() {
			if ev.Type == status.Synced {
				break
			}
		}
		c.time = time.Since(start)
		runtime.ReadMemStats(&after)
		c.bytes = after.TotalAlloc - before.TotalAlloc
		for _, s := range w.Statuses() {
			if s.Status != status.Current {
				b.Fatal(s)
			}
		}
		if err := engine.Stop(context.WithoutCancel(b.Context())); err != nil {
			b.Fatal(err)
		}
		return c
	}
	var with, without cost
	for b.Loop() {
		for _, one := range []struct {
			stream source.StreamFunc
			sum    *cost
		}{{stream, &with}, {nil, &without}} {
			c := read(one.stream)
			one.sum.time, one.sum.bytes = one.sum.time+c.time, one.sum.bytes+c.bytes
		}
	}
	objects := float64(b.N * n)
	b.ReportMetric(float64(size), "pod-B")
	b.ReportMetric(float64(with.time.Nanoseconds())/objects, "with-ns/pod")
	b.ReportMetric(float64(without.time.Nanoseconds())/objects, "without-ns/pod")
	b.ReportMetric(with.time.Seconds()/without.time.Seconds(), "ratio-time")
	b.ReportMetric(float64(with.bytes)/objects, "with-B/pod")
	b.ReportMetric(float64(without.bytes)/objects, "without-B/pod")
	b.ReportMetric(float64(with.bytes)/float64(without.bytes), "ratio-bytes")
	b.ReportMetric(0, "ns/op")
}
