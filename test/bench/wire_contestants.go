// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package main

import (
	"context"
	"sync"

	ciliumresource "github.com/cilium/cilium/pkg/k8s/resource"
	"github.com/cilium/hive/cell"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/dynamic/dynamicinformer"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
	ctrlcache "sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/apiary-go/apiary/informer/source"
	"github.com/apiary-go/apiary/resource"
)

// Contestants that only read from servers.
const (
	nameController = "controller-runtime"
	nameSmall      = "apiary, small type"
	nameFields     = "apiary, four fields"
)

// wireReader stores a collection of a server, and calls subscribers.
type wireReader interface {
	// run reads until ctx ends, or until an unexpected error.
	run(ctx context.Context) error

	// synced blocks until the reader reports that it is synced.
	synced(ctx context.Context) error

	// stored returns the versions of the stored objects.
	stored() map[cache.ObjectName]string
}

// wireReaders create the contestants, by name. Each subscriber is a function that is
// called for each event, one call at a time.
var wireReaders = map[string]func(t wireTask, subscribers []func()) (wireReader, error){
	nameOurs:       newOurReader,
	nameSmall:      newSmallReader,
	nameFields:     newFieldsReader,
	nameClientGo:   newClientGoReader,
	nameCilium:     newCiliumReader,
	nameController: newControllerReader,
	nameIdeal:      newIdealReader,
}

var (
	wireNames    = []string{nameOurs, nameClientGo, nameCilium, nameController, nameIdeal}
	wireFollow   = []string{nameOurs, nameClientGo, nameCilium, nameController} // contestants that can relist
	wireUntyped  = []string{nameOurs, nameClientGo, nameController}
	wireContents = map[string]string{
		wireProtobuf: runtime.ContentTypeProtobuf, wireJSON: runtime.ContentTypeJSON, wireWidgets: runtime.ContentTypeJSON,
	}
)

// config returns the configuration of clients of the server, without limits.
func (t wireTask) config() *rest.Config {
	content := wireContents[t.Form]
	return &rest.Config{
		Host: t.Address, QPS: -1,
		ContentConfig: rest.ContentConfig{ContentType: content, AcceptContentTypes: content},
	}
}

// resource returns the resource that is read.
func (t wireTask) resource() schema.GroupVersionResource {
	if t.Form == wireWidgets {
		return widgets
	}
	return corev1.SchemeGroupVersion.WithResource("pods")
}

// kind returns the kind that is read.
func (t wireTask) kind() schema.GroupVersionKind {
	if t.Form == wireWidgets {
		return widgets.GroupVersion().WithKind(widgetKind)
	}
	return corev1.SchemeGroupVersion.WithKind("Pod")
}

// object returns an empty object of the kind that is read.
func (t wireTask) object() client.Object {
	if t.Form == wireWidgets {
		u := &unstructured.Unstructured{}
		u.SetGroupVersionKind(t.kind())
		return u
	}
	return &corev1.Pod{}
}

// client returns a REST client for the resource that is read.
func (t wireTask) client() (*rest.RESTClient, error) {
	config := t.config()
	gv := t.resource().GroupVersion()
	config.GroupVersion, config.APIPath = &gv, "/apis"
	if gv.Group == "" {
		config.APIPath = "/api"
	}
	config.NegotiatedSerializer = scheme.Codecs.WithoutConversion()
	return rest.RESTClientFor(config)
}

// versionsStored returns the versions of objects.
func versionsStored[T metav1.Object](objects []T) map[cache.ObjectName]string {
	stored := make(map[cache.ObjectName]string, len(objects))
	for _, obj := range objects {
		stored[cache.ObjectName{Namespace: obj.GetNamespace(), Name: obj.GetName()}] = obj.GetResourceVersion()
	}
	return stored
}

// inHive runs a contestant in the lifecycle of a hive, with the readers of its events.
type inHive struct {
	lc      cell.DefaultLifecycle
	readers sync.WaitGroup
}

func (h *inHive) run(ctx context.Context) error {
	if err := h.lc.Start(quiet, ctx); err != nil {
		return err
	}
	<-ctx.Done()
	return h.end()
}

func (h *inHive) end() error {
	err := h.lc.Stop(quiet, context.Background())
	h.readers.Wait()
	return err
}

// ourReader is a Resource in its default configuration.
type ourReader[T runtime.Object] struct {
	inHive
	resource resource.Resource[T]
}

func newOurReader(t wireTask, subscribers []func()) (wireReader, error) {
	if t.Form == wireWidgets {
		r := &keepingReader[*unstructured.Unstructured]{}
		return r, r.open(t, subscribers)
	}
	r := &keepingReader[*corev1.Pod]{}
	return r, r.open(t, subscribers)
}

// fourFields are the fields of smallPod.
var fourFields = source.WithFields("metadata.labels", "spec.nodeName", "status.podIP", "status.phase")

// newFieldsReader reads four fields into pods.
func newFieldsReader(t wireTask, subscribers []func()) (wireReader, error) {
	r := &keepingReader[*corev1.Pod]{}
	return r, r.open(t, subscribers, resource.WithSourceOptions(fourFields))
}

func (r *ourReader[T]) open(t wireTask, subscribers []func(), opts ...resource.Option) error {
	client, err := t.client()
	if err != nil {
		return err
	}
	lw := source.NewListWatchFromClient(client, t.resource().Resource, metav1.NamespaceAll)
	r.resource = resource.New[T](&r.lc, lw, append(opts, resource.WithLogger(quiet))...)
	for _, onEvent := range subscribers {
		events := r.resource.Events(context.Background())
		r.readers.Go(func() {
			for event := range events {
				event.Done(nil)
				if event.Kind != resource.Sync {
					onEvent()
				}
			}
		})
	}
	return nil
}

func (r *ourReader[T]) synced(ctx context.Context) error {
	_, err := r.resource.Store(ctx)
	return err
}

// keepingReader stores objects as they are sent.
type keepingReader[T readable] struct{ ourReader[T] }

// readable is an object that a server sends.
type readable interface {
	runtime.Object
	metav1.Object
}

func (r *keepingReader[T]) stored() map[cache.ObjectName]string {
	store, err := r.resource.Store(context.Background())
	must(err)
	return versionsStored(store.List())
}

// clientGoReader is an informer of client-go.
type clientGoReader struct{ informer cache.SharedIndexInformer }

// listWatch returns the ListerWatcher of client-go and cilium.
func (t wireTask) listWatch() (cache.ListerWatcher, error) {
	client, err := t.client()
	if err != nil {
		return nil, err
	}
	return cache.NewListWatchFromClient(client, t.resource().Resource, metav1.NamespaceAll, fields.Everything()), nil
}

func newClientGoReader(t wireTask, subscribers []func()) (wireReader, error) {
	r := &clientGoReader{}
	if t.Form == wireWidgets {
		client, err := dynamic.NewForConfig(t.config())
		if err != nil {
			return nil, err
		}
		r.informer = dynamicinformer.NewFilteredDynamicInformer(client, widgets, metav1.NamespaceAll, 0, cache.Indexers{}, nil).Informer()
	} else {
		lw, err := t.listWatch()
		if err != nil {
			return nil, err
		}
		r.informer = cache.NewSharedIndexInformer(lw, &corev1.Pod{}, 0, cache.Indexers{})
	}
	for _, onEvent := range subscribers {
		if _, err := r.informer.AddEventHandler(handlerOf(onEvent)); err != nil {
			return nil, err
		}
	}
	return r, nil
}

func handlerOf(onEvent func()) cache.ResourceEventHandler {
	return cache.ResourceEventHandlerFuncs{
		AddFunc: func(any) { onEvent() }, UpdateFunc: func(any, any) { onEvent() }, DeleteFunc: func(any) { onEvent() },
	}
}

func (r *clientGoReader) run(ctx context.Context) error {
	r.informer.RunWithContext(ctx)
	return nil
}

func (r *clientGoReader) synced(ctx context.Context) error {
	return await(ctx, r.informer.HasSyncedChecker().Done())
}

func (r *clientGoReader) stored() map[cache.ObjectName]string {
	var objects []metav1.Object
	for _, obj := range r.informer.GetStore().List() {
		objects = append(objects, obj.(metav1.Object))
	}
	return versionsStored(objects)
}

// ciliumReader is a resource of cilium.
type ciliumReader struct {
	inHive
	resource ciliumresource.Resource[*corev1.Pod]
}

func newCiliumReader(t wireTask, subscribers []func()) (wireReader, error) {
	lw, err := t.listWatch()
	if err != nil {
		return nil, err
	}
	r := &ciliumReader{}
	r.resource = ciliumresource.New[*corev1.Pod](&r.lc, lw, nil)
	for _, onEvent := range subscribers {
		events := r.resource.Events(context.Background())
		r.readers.Go(func() {
			for event := range events {
				event.Done(nil)
				if event.Kind != ciliumresource.Sync {
					onEvent()
				}
			}
		})
	}
	return r, nil
}

func (r *ciliumReader) synced(ctx context.Context) error {
	_, err := r.resource.Store(ctx)
	return err
}

func (r *ciliumReader) stored() map[cache.ObjectName]string {
	store, err := r.resource.Store(context.Background())
	must(err)
	return versionsStored(store.List())
}

// controllerReader is a cache of controller-runtime.
type controllerReader struct {
	task  wireTask
	cache ctrlcache.Cache
}

func newControllerReader(t wireTask, subscribers []func()) (wireReader, error) {
	gv := t.resource().GroupVersion()
	mapper := meta.NewDefaultRESTMapper([]schema.GroupVersion{gv})
	mapper.Add(t.kind(), meta.RESTScopeNamespace)
	c, err := ctrlcache.New(t.config(), ctrlcache.Options{Scheme: scheme.Scheme, Mapper: mapper})
	if err != nil {
		return nil, err
	}
	i, err := c.GetInformer(context.Background(), t.object(), ctrlcache.BlockUntilSynced(false))
	if err != nil {
		return nil, err
	}
	for _, onEvent := range subscribers {
		if _, err := i.AddEventHandler(handlerOf(onEvent)); err != nil {
			return nil, err
		}
	}
	return &controllerReader{task: t, cache: c}, nil
}

func (r *controllerReader) run(ctx context.Context) error { return r.cache.Start(ctx) }

func (r *controllerReader) synced(ctx context.Context) error {
	if !r.cache.WaitForCacheSync(ctx) {
		return context.Cause(ctx)
	}
	return nil
}

func (r *controllerReader) stored() map[cache.ObjectName]string {
	if r.task.Form == wireWidgets {
		list := &unstructured.UnstructuredList{}
		list.SetGroupVersionKind(widgets.GroupVersion().WithKind(widgetKind + "List"))
		return versionsListed(r.cache, list)
	}
	return versionsListed(r.cache, &corev1.PodList{})
}

func versionsListed(from client.Reader, list client.ObjectList) map[cache.ObjectName]string {
	must(from.List(context.Background(), list))
	var objects []metav1.Object
	must(meta.EachListItem(list, func(obj runtime.Object) error {
		objects = append(objects, obj.(metav1.Object))
		return nil
	}))
	return versionsStored(objects)
}
