// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package fakeapi

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/yaml"
)

// AddManifests adds the objects in the files of a file system, such as os.DirFS("testdata"),
// whose names end in .yaml, .yml or .json, in the order of their paths. A file can have
// several documents, and lists. All kinds must be installed.
func (f *Server) AddManifests(fsys fs.FS) error {
	return fs.WalkDir(fsys, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		switch path.Ext(name) {
		case ".yaml", ".yml", ".json":
		default:
			return nil
		}
		if entry.IsDir() {
			return nil
		}
		data, err := fs.ReadFile(fsys, name)
		if err != nil {
			return err
		}
		objects, err := f.DecodeManifest(data)
		if err == nil {
			err = f.Add(objects...)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		return nil
	})
}

// DecodeManifest decodes YAML or JSON with any number of documents. Lists are returned as
// their items. The types are those of [Server.Get]. Unknown fields of Go types are an error.
func (f *Server) DecodeManifest(data []byte) ([]runtime.Object, error) {
	var out []runtime.Object
	docs := utilyaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(data)))
	for {
		doc, err := docs.Read()
		if errors.Is(err, io.EOF) {
			return out, nil
		}
		if err != nil {
			return nil, err
		}
		u := &unstructured.Unstructured{}
		if err := yaml.Unmarshal(doc, &u.Object); err != nil {
			return nil, err
		}
		if len(u.Object) == 0 {
			continue // comments only
		}
		if u.GetKind() == "" || u.GetAPIVersion() == "" {
			return nil, errors.New("a document has no apiVersion or kind")
		}
		items := []unstructured.Unstructured{*u}
		if u.IsList() {
			list, err := u.ToList()
			if err != nil {
				return nil, err
			}
			items = list.Items
		}
		for i := range items {
			obj, err := f.decodeItem(&items[i])
			if err != nil {
				return nil, fmt.Errorf("%s %s: %w", items[i].GetKind(), items[i].GetName(), err)
			}
			out = append(out, obj)
		}
	}
}

func (f *Server) decodeItem(u *unstructured.Unstructured) (runtime.Object, error) {
	data, err := u.MarshalJSON()
	if err != nil {
		return nil, err
	}
	u = &unstructured.Unstructured{}
	if err := u.UnmarshalJSON(data); err != nil { // whole numbers as int64
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	var obj runtime.Object = u
	for _, s := range f.schemesLocked() {
		if obj, err = inType(s, obj, true); err != nil {
			return nil, err
		}
	}
	return obj, nil
}
