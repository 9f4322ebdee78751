// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"sync"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/tools/cache"
)

// idealReader is a minimal reader of pods in protobuf. It reads pages, decodes them with
// the generated code, and puts the pods into a map, and then the same for each event. It
// calls its subscribers in turn, and ends with the first error.
type idealReader struct {
	url         string
	subscribers []func()
	done        chan struct{}

	envelope runtime.Unknown // its memory is reused

	mu   sync.Mutex
	pods map[cache.ObjectName]*corev1.Pod
}

func newIdealReader(t wireTask, subscribers []func()) (wireReader, error) {
	if t.Form != wireProtobuf {
		return nil, errors.New("the ideal loop reads protobuf only")
	}
	return &idealReader{
		url: t.Address + "/api/v1/pods", subscribers: subscribers, done: make(chan struct{}),
		pods: map[cache.ObjectName]*corev1.Pod{},
	}, nil
}

// idealPage is the page size of the ideal loop.
const idealPage = 500

func (r *idealReader) get(ctx context.Context, query url.Values) (io.ReadCloser, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, r.url+"?"+query.Encode(), nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", runtime.ContentTypeProtobuf)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		_ = resp.Body.Close()
		return nil, errors.New(resp.Status)
	}
	return resp.Body, nil
}

func (r *idealReader) run(ctx context.Context) error {
	version, err := r.list(ctx)
	if err != nil {
		return err
	}
	close(r.done)
	if err := r.watch(ctx, version); ctx.Err() == nil {
		return fmt.Errorf("the watch ended: %w", err)
	}
	return nil
}

func (r *idealReader) list(ctx context.Context) (version string, err error) {
	var body bytes.Buffer
	for query := (url.Values{"limit": {fmt.Sprint(idealPage)}}); ; {
		in, err := r.get(ctx, query)
		if err != nil {
			return "", err
		}
		body.Reset()
		_, err = body.ReadFrom(in)
		_ = in.Close()
		if err != nil {
			return "", err
		}
		var list corev1.PodList
		if err := r.unmarshal(body.Bytes(), &list); err != nil {
			return "", err
		}
		for i := range list.Items {
			r.put(&list.Items[i])
		}
		if list.Continue == "" {
			return list.ResourceVersion, nil
		}
		query.Set("continue", list.Continue)
	}
}

func (r *idealReader) watch(ctx context.Context, version string) error {
	body, err := r.get(ctx, url.Values{"watch": {"true"}, "resourceVersion": {version}, "allowWatchBookmarks": {"true"}})
	if err != nil {
		return err
	}
	defer body.Close()
	var (
		length [4]byte
		frame  []byte
		event  metav1.WatchEvent
	)
	for {
		if _, err := io.ReadFull(body, length[:]); err != nil {
			return err
		}
		if n := int(binary.BigEndian.Uint32(length[:])); n > cap(frame) {
			frame = make([]byte, n)
		} else {
			frame = frame[:n]
		}
		if _, err := io.ReadFull(body, frame); err != nil {
			return err
		}
		event.Type, event.Object.Raw = "", event.Object.Raw[:0]
		if err := event.Unmarshal(frame); err != nil {
			return err
		}
		switch event.Type {
		case "BOOKMARK":
			continue
		case "ADDED", "MODIFIED":
			pod := &corev1.Pod{}
			if err := r.unmarshal(event.Object.Raw, pod); err != nil {
				return err
			}
			r.put(pod)
		default:
			return fmt.Errorf("an event of type %s", event.Type)
		}
	}
}

// unmarshal decodes an object with an envelope.
func (r *idealReader) unmarshal(data []byte, into interface{ Unmarshal([]byte) error }) error {
	if err := r.envelope.Unmarshal(bytes.TrimPrefix(data, []byte(protobufMagic))); err != nil {
		return err
	}
	return into.Unmarshal(r.envelope.Raw)
}

func (r *idealReader) put(pod *corev1.Pod) {
	r.mu.Lock()
	r.pods[cache.ObjectName{Namespace: pod.Namespace, Name: pod.Name}] = pod
	r.mu.Unlock()
	for _, onEvent := range r.subscribers {
		onEvent()
	}
}

func (r *idealReader) synced(ctx context.Context) error { return await(ctx, r.done) }

func (r *idealReader) stored() map[cache.ObjectName]string {
	r.mu.Lock()
	defer r.mu.Unlock()
	stored := map[cache.ObjectName]string{}
	for key, pod := range r.pods {
		stored[key] = pod.ResourceVersion
	}
	return stored
}
