// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package informertest_test

import (
	"context"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/tools/cache"

	"github.com/apiary-go/apiary/informer"
	"github.com/apiary-go/apiary/informer/clientgo"
	"github.com/apiary-go/apiary/informer/internal/informertest"
	"github.com/apiary-go/apiary/informer/mirror"
	"github.com/apiary-go/apiary/informer/push"
	"github.com/apiary-go/apiary/informer/source"
)

// podReader makes something that reads a ListerWatcher with SourceOptions, or a Source.
// It returns how to run it, and where the pods arrive.
type podReader func(cache.ListerWatcher, informer.Source[*corev1.Pod], ...source.SourceOption) (func(context.Context) error, <-chan *corev1.Pod, error)

var podReaders = map[string]podReader{
	"mirror": func(lw cache.ListerWatcher, s informer.Source[*corev1.Pod], opts ...source.SourceOption) (func(context.Context) error, <-chan *corev1.Pod, error) {
		pods := make(chan *corev1.Pod, 10)
		i, err := mirror.NewResourceVersionInformer("pods", mirror.InformerConfig[*corev1.Pod]{
			ListerWatcher: lw, Source: s, SourceOptions: opts,
			Handler: mirror.ResourceEventHandlerFuncs[*corev1.Pod]{
				AddFunc: func(_ context.Context, obj informer.Object[*corev1.Pod]) error { pods <- obj.Object; return nil },
			},
		})
		if err != nil {
			return nil, nil, err
		}
		return i.Run, pods, nil
	},
	"batcher": func(lw cache.ListerWatcher, s informer.Source[*corev1.Pod], opts ...source.SourceOption) (func(context.Context) error, <-chan *corev1.Pod, error) {
		pods := make(chan *corev1.Pod, 10)
		b, err := push.NewBatcher("pods", push.BatcherConfig[*corev1.Pod]{
			ListerWatcher: lw, Source: s, SourceOptions: opts,
			Consumer: push.WholeSnapshots(
				func(_ context.Context, _ push.SnapshotInfo, objects []informer.Object[*corev1.Pod]) error {
					for _, obj := range objects {
						pods <- obj.Object
					}
					return nil
				},
				func(context.Context, push.Batch[*corev1.Pod]) error { return nil }),
		})
		if err != nil {
			return nil, nil, err
		}
		return b.Run, pods, nil
	},
	"controller": func(lw cache.ListerWatcher, s informer.Source[*corev1.Pod], opts ...source.SourceOption) (func(context.Context) error, <-chan *corev1.Pod, error) {
		pods := make(chan *corev1.Pod, 10)
		c, err := clientgo.NewNamedController("pods", clientgo.ControllerConfig[*corev1.Pod]{
			ListerWatcher: lw, Source: s, SourceOptions: opts,
			Queue: cache.NewDeltaFIFOWithOptions(cache.DeltaFIFOOptions{KeyFunction: cache.MetaNamespaceKeyFunc}),
			Process: func(item any, _ bool) error {
				pods <- item.(cache.Deltas).Newest().Object.(*corev1.Pod)
				return nil
			},
		})
		if err != nil {
			return nil, nil, err
		}
		return c.Run, pods, nil
	},
}

// Who reads a ListerWatcher for others can be told how.
func TestSourceOptions(t *testing.T) {
	for name, construct := range podReaders {
		t.Run(name, func(t *testing.T) {
			lw := informertest.Bodies{Left: &[][]byte{informertest.Encode(t, runtime.ContentTypeProtobuf, informertest.WirePods(2))}}
			run, pods, err := construct(lw, nil, source.WithFields("metadata.labels"), source.WithFields("status.podIP"))
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancel(t.Context())
			ran := make(chan error, 1)
			go func() { ran <- run(ctx) }()
			for range 2 {
				p := <-pods
				if !strings.HasPrefix(p.Name, "web-") || p.Labels["app"] != "web" || p.Status.PodIP == "" || p.Spec.NodeName != "" || p.Spec.Containers != nil {
					t.Errorf("got %v", p)
				}
			}
			cancel()
			<-ran

			src := source.FromListerWatcher[*corev1.Pod](lw, nil)
			errs := map[string]error{
				`"spec.nodeNam"`: failure(construct(lw, nil, source.WithFields("spec.nodeNam"))),
				"SourceOptions":  failure(construct(nil, src, source.WithFields("spec"))),
			}
			if name == "mirror" {
				errs["WithSharing"] = failure(construct(lw, nil, source.WithSharing()))
			}
			for want, err := range errs {
				if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "pods") {
					t.Errorf("got %v, want it to say %s", err, want)
				}
			}
		})
	}
}

func failure[A, B any](_ A, _ B, err error) error { return err }
