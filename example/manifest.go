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

// readManifests returns which objects the files name, in their order, each once. A
// file holds YAML documents or JSON values, "-" is stdin, and of a directory the files
// *.yaml, *.yml and *.json are read, by name. The items of lists count as if they
// stood by themselves. Objects without a namespace get the one that is given.
//
// The error tells of everything that is wrong, each with its file and document; there
// are no objects then.
func readManifests(paths []string, stdin io.Reader, namespace string) ([]status.ID, error) {
	m := &manifests{namespace: namespace, seen: map[status.ID]bool{}}
	for i, name := range paths {
		switch {
		case name == "-" && slices.Contains(paths[:i], "-"):
			m.bad("standard input", errors.New("it can be read only once"))
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

// manifests collects what is in some files.
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
	entries, err := os.ReadDir(name) // by name
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

// read reads a file up to the first text in it that is neither YAML nor JSON.
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

// decode reads a YAML document, or JSON values one after another. If there is an error
// the values are those before it.
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
		case len(values) == 0 && yaml.UnmarshalStrict(text, &document) == nil: // YAML has braces, too
			return []any{document}, nil
		}
		return values, fmt.Errorf("json: %w", err)
	}
}

// add takes in a document, or an item of a list.
func (m *manifests) add(where string, document any) {
	if document == nil {
		return // empty, or nothing but comments
	}
	obj, ok := document.(map[string]any)
	if !ok {
		m.bad(where, errors.New("this is no object with apiVersion, kind and metadata"))
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

// identify says which object obj is.
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
		return status.ID{}, fmt.Errorf("%s: it has metadata.generateName in place of metadata.name: "+
			"what it is called is known only once it was created, so it cannot be waited for by this file", kind)
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

// text returns a field that holds a text, if it is there.
func text(obj map[string]any, field string) (string, error) {
	value, ok := obj[field].(string)
	if !ok && obj[field] != nil {
		return "", fmt.Errorf("%s is %v: want a text, perhaps in quotes", field, obj[field])
	}
	return value, nil
}

func validateNamespace(name string) error {
	if wrong := validation.IsDNS1123Label(name); len(wrong) > 0 {
		return fmt.Errorf("%q: %s", name, strings.Join(wrong, ", "))
	}
	return nil
}
