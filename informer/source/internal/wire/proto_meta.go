// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package wire

import (
	"encoding/binary"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// lastTexts are those of the last object that the next one is likely to have as well.
type lastTexts struct{ apiVersion, kind, namespace string }

// same returns data as a string, the one at last if it is the same.
func same(last *string, data []byte) string {
	if *last != string(data) {
		*last = string(data)
	}
	return *last
}

// typeMetaOf reads a TypeMeta.
func (l *lastTexts) typeMetaOf(data []byte) (apiVersion, kind string, err error) {
	err = fields(data, func(field int, value []byte) error {
		switch field {
		case 1:
			apiVersion = same(&l.apiVersion, value)
		case 2:
			kind = same(&l.kind, value)
		}
		return nil
	})
	return apiVersion, kind, err
}

// listMetaOf reads a ListMeta.
func listMetaOf(data []byte, list *ListMeta) error {
	for len(data) > 0 {
		field, kind, value, rest, err := next(data)
		if err != nil {
			return err
		}
		switch {
		case field == 2 && kind == bytesType:
			list.Version = string(value)
		case field == 3 && kind == bytesType:
			list.Continue = string(value)
		case field == 4 && kind == varintType:
			n, _ := binary.Uvarint(value)
			list.Remaining = int64(n)
		}
		data = rest
	}
	return nil
}

// identify finds out what identifies an object, and whether it can be decoded.
func (l *lastTexts) identify(o *Object, limits Limits) {
	if o.Err = l.metaOf(o); o.Err == nil {
		o.Err = limits.tooLarge(len(o.Raw))
	}
}

// metaOf finds out what identifies an object. Its metadata are its field 1, in all
// kinds that Kubernetes has in protobuf.
func (l *lastTexts) metaOf(o *Object) error {
	return fields(o.Raw, func(field int, value []byte) (err error) {
		if field != 1 {
			return nil
		}
		defer func() {
			if err != nil {
				o.Name = "" // the namespace can be missing
			}
		}()
		return fields(value, func(field int, value []byte) error {
			switch field {
			case 1:
				o.Name = string(value)
			case 3:
				o.Namespace = same(&l.namespace, value)
			case 5:
				o.UID = string(value)
			case 6:
				o.Version = string(value)
			case 12: // annotations
				return initialEventsEnd(value, o)
			}
			return nil
		})
	})
}

// initialEventsEnd looks at an annotation.
func initialEventsEnd(entry []byte, o *Object) error {
	var key, text []byte
	err := fields(entry, func(field int, value []byte) error {
		switch field {
		case 1:
			key = value
		case 2:
			text = value
		}
		return nil
	})
	if string(key) == metav1.InitialEventsAnnotationKey {
		o.InitialEventsEnd = string(text) == "true"
	}
	return err
}
