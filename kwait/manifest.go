// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/api/validate/content"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/yaml"

	"github.com/apiary-go/apiary/status"
)

// readManifests returns the IDs of the objects in the files, in their order, each once.
// A file holds YAML documents or JSON values; "-" is stdin. Of a directory it reads the
// files *.yaml, *.yml and *.json, ordered by name. Items of lists count as objects. An
// object without a namespace gets the given one.
//
// The error has all mistakes, each with its file and document. There are no IDs then.
func readManifests(paths []string, stdin io.Reader, namespace string) ([]status.ID, error) {
	m := &manifests{namespace: namespace, seen: map[status.ID]bool{}}
	for i, name := range paths {
		switch {
		case name == "-" && slices.Contains(paths[:i], "-"):
			m.bad("standard input", errors.New("it is given twice and can be read only once"))
		case name == "-":
			m.read("standard input", stdin)
		default:
			m.open(name)
		}
	}
	if err := errors.Join(m.errs...); err != nil {
		return nil, err
	}
	return m.ids, nil
}

// manifests collects the objects and mistakes of some files.
type manifests struct {
	namespace string
	ids       []status.ID
	seen      map[status.ID]bool
	errs      []error
}

func (m *manifests) bad(where string, err error) {
	m.errs = append(m.errs, fmt.Errorf("%s: %w", where, err))
}

// open reads a file or a directory.
func (m *manifests) open(name string) {
	info, err := os.Stat(name)
	if err != nil {
		m.errs = append(m.errs, err) // names the file
		return
	}
	if !info.IsDir() {
		m.openFile(name)
		return
	}
	entries, err := os.ReadDir(name) // sorted by name
	if err != nil {
		m.errs = append(m.errs, err)
	}
	for _, entry := range entries {
		switch filepath.Ext(entry.Name()) {
		case ".yaml", ".yml", ".json":
			m.openFile(filepath.Join(name, entry.Name()))
		}
	}
}

func (m *manifests) openFile(name string) {
	file, err := os.Open(name)
	if err != nil {
		m.errs = append(m.errs, err)
		return
	}
	m.read(name, file)
	_ = file.Close() // it was only read
}

// read reads a file up to the first document that is neither YAML nor JSON.
func (m *manifests) read(name string, file io.Reader) {
	reader := yaml.NewYAMLReader(bufio.NewReader(file))
	for n := 0; ; {
		text, err := reader.Read()
		if errors.Is(err, io.EOF) {
			return
		}
		var documents []any
		if err == nil {
			documents, err = decode(text)
		}
		for _, d := range documents {
			n++
			m.add(fmt.Sprintf("%s, document %d", name, n), d)
		}
		if err != nil {
			m.bad(fmt.Sprintf("%s, document %d", name, n+1), err)
			return
		}
	}
}

// decode reads a YAML document, or a sequence of JSON values. With an error it returns
// the values before it.
func decode(text []byte) ([]any, error) {
	var document any
	if !yaml.IsJSONBuffer(text) {
		err := yaml.UnmarshalStrict(text, &document)
		if err != nil {
			return nil, err
		}
		return []any{document}, nil
	}
	var values []any
	decoder := json.NewDecoder(bytes.NewReader(text))
	for {
		var value any
		err := decoder.Decode(&value)
		switch {
		case errors.Is(err, io.EOF):
			return values, nil
		case err == nil:
			values = append(values, value)
			continue
		case len(values) == 0 && yaml.UnmarshalStrict(text, &document) == nil: // YAML that begins with a brace
			return []any{document}, nil
		}
		return values, fmt.Errorf("json: %w", err)
	}
}

// add adds a document, or an item of a list.
func (m *manifests) add(where string, document any) {
	if document == nil {
		return // empty, or only comments
	}
	obj, ok := document.(map[string]any)
	if !ok {
		m.bad(where, errors.New("not an object with apiVersion, kind and metadata"))
		return
	}
	kind, _ := obj["kind"].(string)
	if items, ok := obj["items"]; strings.HasSuffix(kind, "List") && (ok || kind == "List") {
		all, ok := items.([]any)
		if !ok && items != nil {
			m.bad(where, errors.New("items is not a list"))
		}
		for i, item := range all {
			m.add(fmt.Sprintf("%s, item %d", where, i+1), item)
		}
		return
	}
	id, err := m.identify(obj)
	if err != nil {
		m.bad(where, err)
		return
	}
	if !m.seen[id] {
		m.seen[id] = true
		m.ids = append(m.ids, id)
	}
}

// identify returns the ID of obj.
func (m *manifests) identify(obj map[string]any) (status.ID, error) {
	kind, err := text(obj, "kind")
	if err != nil {
		return status.ID{}, err
	}
	version, err := text(obj, "apiVersion")
	if err != nil {
		return status.ID{}, err
	}
	if kind == "" || version == "" {
		return status.ID{}, errors.New("apiVersion or kind is missing")
	}
	gv, err := schema.ParseGroupVersion(version)
	if err != nil {
		return status.ID{}, fmt.Errorf("apiVersion: %w", err)
	}
	metadata, ok := obj["metadata"].(map[string]any)
	if !ok && obj["metadata"] != nil {
		return status.ID{}, fmt.Errorf("%s: metadata is not an object", kind)
	}
	id := status.ID{GroupKind: schema.GroupKind{Group: gv.Group, Kind: kind}}
	if id.Name, err = text(metadata, "name"); err == nil {
		id.Namespace, err = text(metadata, "namespace")
	}
	switch {
	case err != nil:
		return status.ID{}, fmt.Errorf("%s: metadata.%w", kind, err)
	case id.Name == "" && metadata["generateName"] != nil:
		return status.ID{}, fmt.Errorf("%s: metadata.generateName in place of metadata.name: "+
			"the server chooses the name, so the file does not identify the object", kind)
	case id.Name == "":
		return status.ID{}, fmt.Errorf("%s: metadata.name is missing", kind)
	}
	if wrong := content.IsPathSegmentName(id.Name); len(wrong) > 0 {
		return status.ID{}, fmt.Errorf("%s: metadata.name %q: %s", kind, id.Name, strings.Join(wrong, ", "))
	}
	if id.Namespace == "" {
		id.Namespace = m.namespace
	}
	if err := validateNamespace(id.Namespace); err != nil {
		return status.ID{}, fmt.Errorf("%s %s: metadata.namespace: %w", kind, id.Name, err)
	}
	return id, nil
}

// text returns a field that must be a string if it is set.
func text(obj map[string]any, field string) (string, error) {
	value, ok := obj[field].(string)
	if !ok && obj[field] != nil {
		return "", fmt.Errorf("%s is %v: want a string, perhaps in quotes", field, obj[field])
	}
	return value, nil
}

func validateNamespace(name string) error {
	if wrong := validation.IsDNS1123Label(name); len(wrong) > 0 {
		return fmt.Errorf("%q: %s", name, strings.Join(wrong, ", "))
	}
	return nil
}
