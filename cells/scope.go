// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package cells

import (
	"errors"
	"fmt"
	"reflect"
	"regexp"
	"strings"

	"k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/kubernetes/scheme"

	"github.com/apiary-go/apiary/informer/namespaces"
	"github.com/apiary-go/apiary/informer/record"
	"github.com/apiary-go/apiary/informer/source"
	"github.com/apiary-go/apiary/resource"
)

// Option configures which objects a [Resource], [NewMirror] or [Push] reads, and how. Nil
// options are skipped. An invalid option makes the construction fail.
type Option func(*options)

type options struct {
	cluster   string // the name of OfCluster
	namespace string
	set       *namespaces.Set // nil: none
	setText   string          // describes it
	labels    []string
	fields    []string
	scheme    *runtime.Scheme
	wireType  reflect.Type // of the objects that the server sends; nil: that of the resource
	target    target
	mode      mode // that target was given for
	private   bool
	name      string // of the resource, unless resource.WithName sets it
	resource  []resource.Option
	reading   []source.SourceOption
	limits    consumerLimits

	recordTo   string // the path of Record
	recordOpts []record.Option

	errs []error
}

// mode selects the client that reads a resource.
type mode int

const (
	byType    mode = iota // a type of the scheme
	byDynamic             // unstructured
	byMetadata
)

func (o *options) failf(format string, args ...any) {
	o.errs = append(o.errs, fmt.Errorf(format, args...))
}

// InNamespace selects the objects of one namespace. Default: all namespaces. For several, see
// [InNamespaces].
func InNamespace(namespace string) Option {
	return func(o *options) {
		if problems := validation.ValidateNamespaceName(namespace, false); len(problems) > 0 {
			o.failf("cells.InNamespace(%q): %s", namespace, strings.Join(problems, "; "))
		}
		o.namespace = namespace
	}
}

// WithLabelSelector selects objects by their labels, such as "app=shop,tier in (web, api)".
// The server applies it. With several of these options, objects must match all of them.
func WithLabelSelector(selector string) Option {
	return func(o *options) {
		parsed, err := labels.Parse(selector)
		switch {
		case err != nil:
			o.failf("cells.WithLabelSelector(%q): %w", selector, err)
		case !parsed.Empty():
			o.labels = append(o.labels, parsed.String())
		}
	}
}

// WithFieldSelector selects objects by their fields, such as "spec.nodeName=node-1". The
// server applies it. It supports only some fields of each kind, and refuses the first
// request with any other field. With several of these options, objects must match all of
// them. For fewer fields of each object, see [Fields].
func WithFieldSelector(selector string) Option {
	return func(o *options) {
		parsed, err := fields.ParseSelector(selector)
		switch {
		case err != nil:
			o.failf("cells.WithFieldSelector(%q): %w", selector, err)
		case !parsed.Empty():
			o.fields = append(o.fields, parsed.String())
		}
	}
}

// Fields keeps only the named fields of the objects, such as "metadata.labels" and
// "spec.nodeName". The other fields are not decoded. Several options add up. See
// [source.WithFields], which is the same without a hive, for the names and for what always
// stays.
func Fields(names ...string) Option {
	return func(o *options) { o.reading = append(o.reading, source.WithFields(names...)) }
}

// With passes options of package resource to a [Resource], such as a name, indexes, a
// transform, or settings of the informer. The hive provides the logger and the metrics.
func With(opts ...resource.Option) Option {
	return func(o *options) { o.resource = append(o.resource, opts...) }
}

// WithScheme sets the scheme that has the kind of the objects, for types of custom
// resources. Default: client-go's scheme of built-in kinds.
func WithScheme(s *runtime.Scheme) Option {
	return func(o *options) {
		if s == nil {
			o.failf("cells.WithScheme: the scheme is nil")
			return
		}
		o.scheme = s
	}
}

// From sets the type of the objects that the API server sends, if a transform makes objects
// of another type from them. See resource.WithTransform. Default: the T of the resource.
func From[S runtime.Object]() Option {
	return func(o *options) { o.wireType = reflect.TypeFor[S]() }
}

// KindName names a kind: a string as in [Unstructured], a GroupVersionKind, or the
// GroupVersionResource of its URLs.
type KindName interface {
	string | schema.GroupVersionKind | schema.GroupVersionResource
}

// Unstructured names the kind of a resource of *unstructured.Unstructured. A string has one
// of these forms:
//
//   - "widgets.v1.example.com": a resource of this version.
//   - "widgets.example.com": the version that the group prefers.
//   - "pods.v1." or "pods": the core group.
//   - "Widget.v1.example.com", with a capital letter: a kind. The other forms work as well.
//
// The version of a GroupVersionKind or GroupVersionResource can be empty, which means the
// preferred version.
func Unstructured[N KindName](name N) Option {
	return kindOption("cells.Unstructured", byDynamic, name)
}

// Metadata names the kind of a resource of *metav1.PartialObjectMetadata, as in
// [Unstructured]. The server sends only the metadata of the objects.
func Metadata[N KindName](name N) Option {
	return kindOption("cells.Metadata", byMetadata, name)
}

// Kind selects one of the kinds that the scheme has for the type of the objects.
func Kind(gvk schema.GroupVersionKind) Option {
	return kindOption("cells.Kind", byType, gvk)
}

// Private provides the resource only to the enclosing module and the modules in it, like
// cell.ProvidePrivate.
func Private() Option {
	return func(o *options) { o.private = true }
}

func kindOption[N KindName](option string, m mode, name N) Option {
	return func(o *options) {
		o.mode = m
		switch name := any(name).(type) {
		case schema.GroupVersionKind:
			o.target = target{Group: name.Group, Version: name.Version, Kind: name.Kind}
		case schema.GroupVersionResource:
			o.target = target{Group: name.Group, Version: name.Version, Resource: name.Resource}
		case string:
			var err error
			if o.target, err = parseKind(name); err != nil {
				o.failf("%s(%q): %w", option, name, err)
				return
			}
		}
		if o.target.Kind == "" && o.target.Resource == "" {
			o.failf("%s: the name of the kind is missing", option)
		}
	}
}

var versionPattern = regexp.MustCompile(`^v[1-9][0-9]*((alpha|beta)[1-9][0-9]*)?$`)

// parseKind reads "name.version.group", "name.group" and "name".
func parseKind(s string) (target, error) {
	name, rest, _ := strings.Cut(s, ".")
	if name == "" || strings.ContainsAny(s, "/ ") {
		return target{}, errors.New(`want a form such as "widgets.v1.example.com" or "pods.v1."`)
	}
	t := target{Group: rest}
	if version, group, ok := strings.Cut(rest, "."); ok && versionPattern.MatchString(version) {
		t.Version, t.Group = version, group
	} else if !ok && versionPattern.MatchString(rest) {
		t.Version, t.Group = rest, ""
	}
	if 'A' <= name[0] && name[0] <= 'Z' {
		t.Kind = name
	} else {
		t.Resource = name
	}
	return t, nil
}

var (
	unstructuredType = reflect.TypeFor[*unstructured.Unstructured]()
	metadataType     = reflect.TypeFor[*metav1.PartialObjectMetadata]()
)

// scope describes the requests of a resource, as far as it is known without the server.
type scope struct {
	mode      mode
	target    target
	gvk       schema.GroupVersionKind // typed
	scheme    *runtime.Scheme         // typed
	namespace string
	set       *namespaces.Set // the namespace is one of them; nil: none
	setText   string          // describes set
	labels    string
	fields    string
	converted bool // to another type than that of the server
}

func gather(opts []Option) *options {
	o := &options{scheme: scheme.Scheme}
	for _, opt := range opts {
		if opt != nil {
			opt(o)
		}
	}
	return o
}

// scope checks the options for a resource whose objects have type t.
func (o *options) scope(t reflect.Type) (scope, error) {
	if len(o.errs) > 0 {
		return scope{}, errors.Join(o.errs...)
	}
	if err := o.checkSet(); err != nil {
		return scope{}, err
	}
	p := scope{
		target: o.target, scheme: o.scheme,
		namespace: o.namespace, set: o.set, setText: o.setText, labels: strings.Join(o.labels, ","), fields: strings.Join(o.fields, ","),
	}
	wireType := o.wireType
	if wireType == nil {
		wireType = t
	}
	named := o.target != target{}
	switch wireType {
	case unstructuredType:
		p.mode = byDynamic
		if o.mode != byDynamic || !named {
			return scope{}, errors.New(`the kind is missing: give cells.Unstructured("widgets.v1.example.com") or the like`)
		}
	case metadataType:
		p.mode = byMetadata
		if o.mode != byMetadata || !named {
			return scope{}, errors.New(`the kind is missing: give cells.Metadata("pods.v1.") or the like`)
		}
	default:
		if o.mode != byType {
			return scope{}, fmt.Errorf("cells.Unstructured and cells.Metadata do not apply to objects of type %s: leave them out, or see cells.Kind", wireType)
		}
		if err := p.lookUp(wireType); err != nil {
			return scope{}, err
		}
	}
	p.converted = wireType != t
	if err := p.unrecorded(); o.recordTo != "" && err != nil {
		return scope{}, fmt.Errorf("cells.Record: %w: leave out cells.Record", err)
	}
	return p, nil
}

// unrecorded returns an error if the objects must not be recorded.
func (p scope) unrecorded() error {
	if p.converted && (p.target.Kind == "Secret" || p.target.Resource == "secrets") {
		return errors.New("an object that is made of a Secret can have its data")
	}
	return nil
}

// lookUp finds the kind of a type in the scheme.
func (p *scope) lookUp(t reflect.Type) error {
	if t.Kind() != reflect.Pointer || t.Elem().Kind() != reflect.Struct {
		return fmt.Errorf("the type of the objects must be a pointer to a struct, not %s", t)
	}
	obj, ok := reflect.New(t.Elem()).Interface().(runtime.Object)
	if !ok {
		return fmt.Errorf("%s is not a runtime.Object", t)
	}
	known, unversioned, err := p.scheme.ObjectKinds(obj)
	if err != nil {
		return fmt.Errorf("the scheme %s does not know %s: give cells.WithScheme, or cells.From if a transform makes the objects",
			p.scheme.Name(), t)
	}
	var kinds []schema.GroupVersionKind
	for _, gvk := range known {
		given := p.target.Kind == "" || target{Group: gvk.Group, Version: gvk.Version, Kind: gvk.Kind} == p.target
		if gvk.Version != runtime.APIVersionInternal && given {
			kinds = append(kinds, gvk)
		}
	}
	switch {
	case unversioned || len(kinds) == 0:
		return fmt.Errorf("%s is not a kind that can be listed (the scheme knows it as %v)", t, known)
	case len(kinds) > 1:
		return fmt.Errorf("the scheme has several kinds for %s: select one with cells.Kind: %v", t, kinds)
	case !p.scheme.Recognizes(listOf(kinds[0])):
		return fmt.Errorf("the scheme %s does not know %s, the list of %s", p.scheme.Name(), listOf(kinds[0]), t)
	case !p.scheme.Recognizes(schema.GroupVersion{Version: "v1"}.WithKind("Status")):
		return fmt.Errorf("the scheme %s does not know metav1.Status: call metav1.AddToGroupVersion on it for %s",
			p.scheme.Name(), kinds[0].GroupVersion())
	}
	p.gvk = kinds[0]
	p.target = target{Group: p.gvk.Group, Version: p.gvk.Version, Kind: p.gvk.Kind}
	return nil
}

// String returns the kind, the namespaces and the selectors.
func (p scope) String() string {
	var b strings.Builder
	b.WriteString(p.target.String())
	switch {
	case p.set != nil:
		b.WriteString(" " + p.setText)
	case p.namespace != "":
		b.WriteString(" in namespace " + p.namespace)
	}
	if p.labels != "" {
		b.WriteString(" with labels " + p.labels)
	}
	if p.fields != "" {
		b.WriteString(" with fields " + p.fields)
	}
	return b.String()
}

func listOf(gvk schema.GroupVersionKind) schema.GroupVersionKind {
	gvk.Kind += "List"
	return gvk
}
