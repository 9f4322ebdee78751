// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package storetest

import (
	"fmt"
	"math"
	"runtime"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// BenchPods is how many pods benchmarks have, BenchNodes on how many nodes.
const (
	BenchPods  = 100_000
	BenchNodes = BenchPods / 200
)

// MakePods returns n pods, spread over namespaces, apps and nodes.
func MakePods(n int) []*corev1.Pod {
	pods := make([]*corev1.Pod, n)
	for i := range pods {
		pods[i] = &corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{
				Namespace:       fmt.Sprintf("namespace-%d", i%100),
				Name:            fmt.Sprintf("pod-%d", i),
				UID:             types.UID(fmt.Sprintf("00000000-0000-0000-0000-%012d", i)),
				ResourceVersion: "1000000",
				Labels:          map[string]string{"app": fmt.Sprintf("app-%d", i%1000)},
			},
			Spec: corev1.PodSpec{NodeName: fmt.Sprintf("node-%d", i%BenchNodes)},
		}
	}
	return pods
}

// Compare measures ours, and then both in turns for the ratio: the best turn of
// each counts, so that what else the machine does matters less.
func Compare(b *testing.B, ours, theirs func(i int)) {
	b.ReportAllocs()
	runtime.GC()
	i := 0
	for b.Loop() {
		ours(i)
		i++
	}
	const turns = 8
	each := max(b.N/turns, 1)
	turn := func(do func(int), first int) float64 {
		runtime.GC()
		start := time.Now()
		for i := range each {
			do(first + i)
		}
		return float64(time.Since(start).Nanoseconds()) / float64(each)
	}
	mine, other := math.Inf(1), math.Inf(1)
	for n := range turns {
		mine = min(mine, turn(ours, i))
		i += each
		other = min(other, turn(theirs, n*each))
	}
	b.ReportMetric(mine, "best-ns/op")
	b.ReportMetric(other, "client-go-best-ns/op")
	b.ReportMetric(other/mine, "x-client-go")
}
