// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package main

import (
	"encoding/json"
	"fmt"
	"io"
)

// jsonPrinter writes each change as a line of JSON, at once. See [change] for the
// fields.
type jsonPrinter struct {
	out *json.Encoder
}

func newJSONPrinter(out io.Writer) *jsonPrinter {
	encoder := json.NewEncoder(out)
	encoder.SetEscapeHTML(false)
	return &jsonPrinter{out: encoder}
}

func (p *jsonPrinter) changed(changes []change) error {
	for _, c := range changes {
		if err := p.out.Encode(c); err != nil {
			return fmt.Errorf("write a line of JSON: %w", err)
		}
	}
	return nil
}

func (p *jsonPrinter) draw(picture) error  { return nil }
func (p *jsonPrinter) close(picture) error { return nil }
