// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package wire

import (
	"encoding/base64"
	"encoding/json"
	"math"
	"reflect"
	"strconv"
	"time"

	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// A null is no value for what is no pointer, map, slice or interface: it stays what it
// is.

func decodeBool(d *decoder, v reflect.Value) error {
	switch d.peek() {
	case 't':
		v.SetBool(true)
		return d.literal("true")
	case 'f':
		v.SetBool(false)
		return d.literal("false")
	case 'n':
		return d.literal("null")
	}
	return d.unfit(v)
}

// numeral goes over a number or a null. It sets v to a number by set, which returns
// whether that fits.
func (d *decoder) numeral(v reflect.Value, set func(v reflect.Value, text []byte) bool) error {
	b := d.peek()
	if b == 'n' {
		return d.literal("null")
	}
	if at := d.at; b == '-' || b-'0' <= 9 {
		text, _, err := d.number()
		if err != nil || set(v, text) {
			return err
		}
		d.at = at
	}
	return d.unfit(v)
}

func decodeInt(d *decoder, v reflect.Value) error   { return d.numeral(v, setInt) }
func decodeUint(d *decoder, v reflect.Value) error  { return d.numeral(v, setUint) }
func decodeFloat(d *decoder, v reflect.Value) error { return d.numeral(v, setFloat) }

func setInt(v reflect.Value, text []byte) bool {
	n, ok := parseInt(text)
	if ok = ok && !v.OverflowInt(n); ok {
		v.SetInt(n)
	}
	return ok
}

func setUint(v reflect.Value, text []byte) bool {
	n, err := strconv.ParseUint(string(text), 10, 64)
	ok := err == nil && !v.OverflowUint(n)
	if ok {
		v.SetUint(n)
	}
	return ok
}

func setFloat(v reflect.Value, text []byte) bool {
	n, err := strconv.ParseFloat(string(text), v.Type().Bits())
	ok := err == nil && !v.OverflowFloat(n)
	if ok {
		v.SetFloat(n)
	}
	return ok
}

func decodeString(d *decoder, v reflect.Value) error {
	switch d.peek() {
	case '"':
		text, err := d.text()
		if err == nil {
			v.SetString(d.made.string(text, d.share))
		}
		return err
	case 'n':
		return d.literal("null")
	}
	return d.unfit(v)
}

// decodeAny makes what an object without a type has.
func decodeAny(mask Mask) func(*decoder, reflect.Value) error {
	return func(d *decoder, v reflect.Value) error {
		value, err := d.value(mask)
		if err != nil {
			return err
		}
		if value == nil {
			v.SetZero()
		} else {
			v.Set(reflect.ValueOf(value))
		}
		return nil
	}
}

// decodeOwn leaves it to the type, a null as well.
func decodeOwn(d *decoder, v reflect.Value) error { return d.own(v, 0) }

// decodeOwnWith leaves it to a type in which each thing takes a size at most.
func decodeOwnWith(size int) func(*decoder, reflect.Value) error {
	if size <= anySize {
		return decodeOwn
	}
	return func(d *decoder, v reflect.Value) error { return d.own(v, size) }
}

func (d *decoder) own(v reflect.Value, size int) error {
	d.peek()
	at := d.at
	raw, err := d.skip()
	if err != nil {
		return err
	}
	if size > 0 {
		d.at = at
		if err := d.spend(things(raw), size); err != nil {
			return err
		}
		d.at += len(raw)
	}
	if err := v.Addr().Interface().(json.Unmarshaler).UnmarshalJSON(raw); err != nil {
		return d.unfitAt(at, v) // what the type says can quote the value
	}
	return nil
}

// decodeQuantity is what the type does itself.
func decodeQuantity(d *decoder, v reflect.Value) error {
	err := decodeOwn(d, v)
	if err == nil {
		cacheText(v.Addr().Interface().(*resource.Quantity))
	}
	return err
}

// cacheText makes a quantity cache its text. It does so at its first String, and several
// readers of a shared quantity can call that at once. A quantity in a map needs no cache:
// each reader gets a copy.
func cacheText(q *resource.Quantity) { _ = q.String() }

// decodeTime is what the type does itself, without a decoder for the text.
func decodeTime(d *decoder, v reflect.Value) error {
	if d.peek() != '"' {
		return decodeOwn(d, v)
	}
	at := d.at
	text, err := d.text()
	if err != nil {
		return err
	}
	parsed, err := time.Parse(time.RFC3339, string(text))
	if err != nil {
		return d.unfitAt(at, v)
	}
	v.Addr().Interface().(*metav1.Time).Time = parsed.Local()
	return nil
}

// decodeIntOrString is what the type does itself, without a decoder for the value.
func decodeIntOrString(d *decoder, v reflect.Value) error {
	to := v.Addr().Interface().(*intstr.IntOrString)
	at := d.at
	switch b := d.peek(); {
	case b == '"':
		text, err := d.text()
		if err != nil {
			return err
		}
		to.Type, to.StrVal = intstr.String, d.made.string(text, d.share)
		return nil
	case b == '-' || b-'0' <= 9:
		text, integer, err := d.number()
		if err != nil {
			return err
		}
		if n, ok := parseInt(text); ok && integer && n >= math.MinInt32 && n <= math.MaxInt32 {
			to.Type, to.IntVal = intstr.Int, int32(n)
			return nil
		}
		d.at = at
	}
	return decodeOwn(d, v)
}

// decodeBytes makes bytes of text in base64.
func decodeBytes(d *decoder, v reflect.Value) error {
	at := d.at
	text, err := d.text()
	if err != nil {
		return err
	}
	data := make([]byte, base64.StdEncoding.DecodedLen(len(text)))
	n, err := base64.StdEncoding.Decode(data, text)
	if err != nil {
		return d.unfitAt(at, v)
	}
	v.SetBytes(data[:n])
	return nil
}
