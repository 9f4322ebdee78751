// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package wire

import (
	"reflect"
	"testing"

	"k8s.io/client-go/kubernetes/scheme"
)

type generated interface {
	Marshal() ([]byte, error)
	Unmarshal([]byte) error
}

// Of every kind that Kubernetes has in protobuf, random objects come out as the
// generated code has them, with and without a Share, whatever was read before.
func TestProtoDecoder(t *testing.T) {
	rounds := 30
	if testing.Short() {
		rounds = 3
	}
	kinds := 0
	share := NewShare()
	for gvk, typ := range scheme.Scheme.AllKnownTypes() {
		if _, ok := reflect.New(typ).Interface().(generated); !ok {
			continue
		}
		kinds++
		plain, err := NewProtoDecoder(typ, nil, nil)
		if err != nil {
			t.Errorf("%s: %v", gvk, err)
			continue
		}
		sharing, err := NewProtoDecoder(typ, nil, share)
		if err != nil {
			t.Fatal(err)
		}
		for seed := range uint64(rounds) {
			original := reflect.New(typ).Interface().(generated)
			newFiller(seed).fill(original)
			data, err := original.Marshal()
			if err != nil {
				t.Fatalf("%s: %v", gvk, err)
			}
			want := reflect.New(typ).Interface().(generated)
			if err := want.Unmarshal(data); err != nil {
				t.Fatalf("%s: %v", gvk, err)
			}
			sayQuantities(reflect.ValueOf(want))
			for i, d := range []*ProtoDecoder{plain, sharing, sharing, sharing} {
				got := reflect.New(typ).Interface()
				if err := d.Decode(&Object{Raw: data}, got); err != nil {
					t.Fatalf("%s, decoder %d: %v", gvk, i, err)
				}
				sayQuantities(reflect.ValueOf(got))
				if !reflect.DeepEqual(got, any(want)) {
					t.Fatalf("%s, seed %d, decoder %d: got\n%#v, want\n%#v", gvk, seed, i, got, want)
				}
			}
		}
	}
	t.Logf("%d kinds", kinds)
	if kinds < 200 {
		t.Errorf("only %d kinds", kinds)
	}
}
