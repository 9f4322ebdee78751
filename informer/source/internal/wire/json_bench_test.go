// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package wire

import (
	"bytes"
	"encoding/json"
	"testing"
)

func BenchmarkJSONList(b *testing.B) {
	body := toJSON(b, pods(1000))
	b.Run("wire", func(b *testing.B) {
		b.SetBytes(int64(len(body)))
		b.ReportAllocs()
		for b.Loop() {
			n := 0
			if _, err := ReadList(bytes.NewReader(body), DefaultLimits, nil, func(*Object) error { n++; return nil }); err != nil || n != 1000 {
				b.Fatal(n, err)
			}
		}
	})
	b.Run("scan", func(b *testing.B) {
		b.SetBytes(int64(len(body)))
		for b.Loop() {
			s := scanner{depth: 100}
			if _, ended, err := s.scan(body); !ended || err != nil {
				b.Fatal(ended, err)
			}
		}
	})
	// Raw messages one by one, of which nothing is known yet.
	b.Run("peer", func(b *testing.B) {
		b.SetBytes(int64(len(body)))
		b.ReportAllocs()
		for b.Loop() {
			d := json.NewDecoder(bytes.NewReader(body))
			for {
				token, err := d.Token()
				if err != nil {
					b.Fatal(err)
				}
				if token == "items" {
					break
				}
			}
			if _, err := d.Token(); err != nil {
				b.Fatal(err)
			}
			n := 0
			for ; d.More(); n++ {
				var raw json.RawMessage
				if err := d.Decode(&raw); err != nil {
					b.Fatal(err)
				}
			}
			if n != 1000 {
				b.Fatal(n)
			}
		}
	})
}
