// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package wire

import (
	"bytes"
	"reflect"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime/serializer/protobuf"
	"k8s.io/client-go/kubernetes/scheme"
)

// What is made of any bytes as a list is what client-go makes of them, or an error.
func FuzzProtobufList(f *testing.F) {
	f.Add(enveloped(f, somePods(0)))
	f.Add(enveloped(f, somePods(2)))
	f.Add(enveloped(f, &corev1.Pod{}))
	oracle := protobuf.NewSerializer(scheme.Scheme, scheme.Scheme)
	f.Fuzz(func(t *testing.T, data []byte) {
		list, pods, err := readPods(bytes.NewReader(data), Limits{Object: 1 << 20, Depth: 100})
		if err != nil || list.Kind != "PodList" || list.APIVersion != "v1" {
			return
		}
		var want corev1.PodList
		if _, _, err := oracle.Decode(data, nil, &want); err != nil {
			// What comes of the other fields of the envelope is no matter.
			t.Skip(err)
		}
		if len(pods) != len(want.Items) || list.Version != want.ResourceVersion || list.Continue != want.Continue {
			t.Fatalf("got %+v with %d pods, want %+v with %d", list, len(pods), want.ListMeta, len(want.Items))
		}
		for i := range pods {
			sayQuantities(reflect.ValueOf(&pods[i]))
			sayQuantities(reflect.ValueOf(&want.Items[i]))
			if !reflect.DeepEqual(pods[i], want.Items[i]) {
				t.Fatalf("pod %d: got\n%v, want\n%v", i, &pods[i], &want.Items[i])
			}
		}
	})
}

// What is made of any bytes as a pod is what the generated code makes of them, or an
// error; with a Share the same, each time.
func FuzzProtoDecoder(f *testing.F) {
	data, err := makePod(3).Marshal()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	for seed := range uint64(5) {
		var pod corev1.Pod
		newFiller(seed).fill(&pod)
		if data, err = pod.Marshal(); err != nil {
			f.Fatal(err)
		}
		f.Add(append(data, data...)) // each field twice
	}
	plain, err := podDecoder()
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		sharing := &ProtoDecoder{root: plain.root, share: newShare(64, 64)}
		var want corev1.Pod
		wantErr := want.Unmarshal(data)
		for i, d := range []*ProtoDecoder{plain, sharing, sharing, sharing} {
			var got corev1.Pod
			if err := d.Decode(&Object{Raw: data}, &got); err != nil {
				continue
			}
			if wantErr != nil {
				t.Fatalf("decoder %d makes something of what is an error: %v", i, wantErr)
			}
			sayQuantities(reflect.ValueOf(&got))
			sayQuantities(reflect.ValueOf(&want))
			if !reflect.DeepEqual(got, want) {
				t.Fatalf("decoder %d: got\n%v, want\n%v", i, &got, &want)
			}
		}
	})
}
