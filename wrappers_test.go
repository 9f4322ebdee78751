// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package apiary_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"go/types"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// optional lists the interfaces that have optional ones beside them, which callers find
// by a type assertion. A type that implements the first, and holds one to wrap it, must
// hand on the methods of the others.
var optional = []struct {
	is    string   // a type with this method implements the interface
	holds []string // and wraps one if a field is of one of these types; nil: each does
	hands []string
}{
	// By its client.
	{"ListWithContext", nil, []string{"IsWatchListSemanticsUnSupported"}},
	{"Commit", []string{"Sink[T]", "store.Sink[T]"}, []string{"SharesObjects", "Validate"}},
	{"WatchList", []string{"informer.Source[T]", "Source[T]", "cache.ListerWatcherWithContext"}, []string{"Validate"}},
	{"WatchList", []string{"informer.Source[T]", "Source[T]"}, []string{"Absent", "ListMetadata"}},
	{"RoundTrip", []string{"http.RoundTripper"}, []string{"WrappedRoundTripper"}},
	{"OnSync", []string{"ResourceEventHandler[T]"}, []string{"UpdateResourceVersion", "Validate"}},
}

// dropped says of which types the methods need not be handed on, and why.
var dropped = map[string]string{
	"informer/source.dynamicListerWatcher.IsWatchListSemanticsUnSupported": "its client is made of a rest.Config",
	"cells.listWatch.IsWatchListSemanticsUnSupported":                      "so are its clients",
	"informer/record.source.ListMetadata":                                  "metadataSource has it",
	"informer.safeSource.Validate":                                         "NewReflector asks before it wraps the source",
	"informer.safeSink.Validate":                                           "and the sink",
	"informer.safeSink.SharesObjects":                                      "DetectMutations looks at the sink before",
	"informer/mirror.mirrorSink.Validate":                                  "InformerConfig validates ExtraStore, and names it",
}

// structure is a struct type of the repository.
type structure struct {
	fields   map[string]bool // their types
	embedded []string        // types of the package, or of another
	methods  map[string]bool
}

// TestWrappersHandOn: no wrapper drops what it wraps can do besides.
func TestWrappersHandOn(t *testing.T) {
	var found []string
	for dir, structures := range parseStructures(t) {
		for name, s := range structures {
			for _, o := range optional {
				if !s.has(structures, o.is) || !s.wraps(structures, o.holds) {
					continue
				}
				found = append(found, name)
				for _, method := range o.hands {
					what := dir + "." + name + "." + method
					_, isDropped := dropped[what]
					switch has := s.has(structures, method); {
					case !has && !isDropped:
						t.Errorf("%s is missing: the type wraps something that may have it", what)
					case has && isDropped:
						t.Errorf("%s is there: leave it out of dropped", what)
					}
				}
			}
		}
	}
	for _, known := range []string{"watchedSink", "fillingSink", "mirrorSink", "timeoutTransport", "countingTransport", "scopeReader", "listerWatcher", "FilteringResourceEventHandler"} {
		if !slices.Contains(found, known) {
			t.Errorf("%s is not found to wrap anything; found are %q", known, found)
		}
	}
}

// has reports whether a type has a method, its own or that of what it embeds. Of what is
// embedded from elsewhere, only the interfaces of optional are known.
func (s *structure) has(all map[string]*structure, method string) bool {
	if s.methods[method] {
		return true
	}
	for _, o := range optional {
		if o.is == method && slices.ContainsFunc(o.holds, func(t string) bool { return slices.Contains(s.embedded, t) }) {
			return true
		}
	}
	return slices.ContainsFunc(s.embedded, func(name string) bool {
		inner := all[base(name)]
		return inner != nil && inner.has(all, method)
	})
}

func (s *structure) wraps(all map[string]*structure, types []string) bool {
	return types == nil || slices.ContainsFunc(types, func(t string) bool { return s.fields[t] }) ||
		slices.ContainsFunc(s.embedded, func(name string) bool {
			inner := all[base(name)]
			return inner != nil && inner.wraps(all, types)
		})
}

// base is the name of a type without its parameters.
func base(name string) string {
	name, _, _ = strings.Cut(strings.TrimPrefix(name, "*"), "[")
	return name
}

// parseStructures returns the struct types of all modules, by directory and name, those of
// tests and their helpers left out.
func parseStructures(t *testing.T) map[string]map[string]*structure {
	all := map[string]map[string]*structure{}
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (path != "." && strings.HasPrefix(d.Name(), ".") || d.Name() == "testdata" || strings.HasSuffix(d.Name(), "test") && d.Name() != "test"):
			return fs.SkipDir
		case !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go"):
			return nil
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		dir := filepath.ToSlash(filepath.Dir(path))
		if all[dir] == nil {
			all[dir] = map[string]*structure{}
		}
		addStructures(all[dir], file)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func addStructures(all map[string]*structure, file *ast.File) {
	named := func(name string) *structure {
		if all[name] == nil {
			all[name] = &structure{fields: map[string]bool{}, methods: map[string]bool{}}
		}
		return all[name]
	}
	for _, decl := range file.Decls {
		switch d := decl.(type) {
		case *ast.FuncDecl:
			if d.Recv != nil {
				named(base(types.ExprString(d.Recv.List[0].Type))).methods[d.Name.Name] = true
			}
		case *ast.GenDecl:
			for _, spec := range d.Specs {
				spec, ok := spec.(*ast.TypeSpec)
				if !ok {
					continue
				}
				structType, ok := spec.Type.(*ast.StructType)
				if !ok {
					continue
				}
				s := named(spec.Name.Name)
				for _, field := range structType.Fields.List {
					typ := types.ExprString(field.Type)
					s.fields[typ] = true
					if field.Names == nil {
						s.embedded = append(s.embedded, typ)
					}
				}
			}
		}
	}
}
