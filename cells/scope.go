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

	"github.com/apiary-go/apiary/informer/source"
	"github.com/apiary-go/apiary/resource"
)

// Option says which objects a resource holds, and how. Nil options are skipped. A
// bad one fails the construction of the resource.
type Option func(*options)

type options struct {
	namespace string
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
	errs      []error
}

// mode is by which client a resource is read.
type mode int

const (
	byType    mode = iota // a type of the scheme
	byDynamic             // unstructured
	byMetadata
)

func (o *options) failf(format string, args ...any) {
	o.errs = append(o.errs, fmt.Errorf(format, args...))
}

// InNamespace holds the objects of one namespace. Default: those of all.
func InNamespace(namespace string) Option {
	return func(o *options) {
		if problems := validation.ValidateNamespaceName(namespace, false); len(problems) > 0 {
			o.failf("cells.InNamespace(%q): %s", namespace, strings.Join(problems, "; "))
		}
		o.namespace = namespace
	}
}

// WithLabelSelector holds the objects that a label selector selects, such as
// "app=shop,tier in (web, api)". The server applies it. Given more than once, all
// must hold.
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

// WithFieldSelector holds the objects that a field selector selects, such as
// "spec.nodeName=node-1". The server applies it, and knows only some fields of each
// kind; it refuses others when the resource is first used. Given more than once,
// all must hold.
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
// [source.WithFields] for the names, and for what always stays.
func Fields(names ...string) Option {
	return func(o *options) { o.reading = append(o.reading, source.WithFields(names...)) }
}

// With passes options on to the resource: its name, indexes, a transform, settings
// of the informer such as its list budget.
func With(opts ...resource.Option) Option {
	return func(o *options) { o.resource = append(o.resource, opts...) }
}

// WithScheme has the kind of the objects looked up in a scheme of yours, for types
// of custom resources. Default: client-go's, with the built-in kinds.
func WithScheme(s *runtime.Scheme) Option {
	return func(o *options) {
		if s == nil {
			o.failf("cells.WithScheme: the scheme is nil")
			return
		}
		o.scheme = s
	}
}

// From says that the API server sends objects of type S, where the resource holds
// another type, that resource.WithTransform makes of them.
func From[S runtime.Object]() Option {
	return func(o *options) { o.wireType = reflect.TypeFor[S]() }
}

// KindName names a kind: a string as [Unstructured] describes, the kind, or the
// resource that it is served as.
type KindName interface {
	string | schema.GroupVersionKind | schema.GroupVersionResource
}

// Unstructured names the kind of a resource of *unstructured.Unstructured. A string
// is of the form "widgets.v1.example.com", "widgets.example.com" for the preferred
// version of the group, "pods.v1." or "pods" in the core group; with a capital
// letter in front it is a kind in place of a resource: "Widget.v1.example.com".
// A GroupVersionKind or GroupVersionResource may lack the version.
func Unstructured[N KindName](name N) Option {
	return kindOption("cells.Unstructured", byDynamic, name)
}

// Metadata names the kind of a resource of *metav1.PartialObjectMetadata, as
// [Unstructured] does: the server sends only the metadata of the objects.
func Metadata[N KindName](name N) Option {
	return kindOption("cells.Metadata", byMetadata, name)
}

// Kind tells which kind is meant where a type stands for several in its scheme.
func Kind(gvk schema.GroupVersionKind) Option {
	return kindOption("cells.Kind", byType, gvk)
}

// Private has what is provided visible only in the module that the cell is put in,
// and the modules within, as cell.ProvidePrivate does.
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

// plan is what options come to, as far as it can be told without the server.
type plan struct {
	mode      mode
	target    target
	gvk       schema.GroupVersionKind // typed
	scheme    *runtime.Scheme         // typed
	namespace string
	labels    string
	fields    string
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

// plan checks the options for a resource whose objects have type t.
func (o *options) plan(t reflect.Type) (plan, error) {
	if len(o.errs) > 0 {
		return plan{}, errors.Join(o.errs...)
	}
	p := plan{
		target: o.target, scheme: o.scheme,
		namespace: o.namespace, labels: strings.Join(o.labels, ","), fields: strings.Join(o.fields, ","),
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
			return plan{}, errors.New(`the kind is missing: give cells.Unstructured("widgets.v1.example.com") or the like`)
		}
	case metadataType:
		p.mode = byMetadata
		if o.mode != byMetadata || !named {
			return plan{}, errors.New(`the kind is missing: give cells.Metadata("pods.v1.") or the like`)
		}
	default:
		if o.mode != byType {
			return plan{}, fmt.Errorf("the objects have type %s, which the option with the name of the kind is not for", wireType)
		}
		if err := p.lookUp(wireType); err != nil {
			return plan{}, err
		}
	}
	return p, nil
}

// lookUp finds the kind of a type in the scheme.
func (p *plan) lookUp(t reflect.Type) error {
	if t.Kind() != reflect.Pointer || t.Elem().Kind() != reflect.Struct {
		return fmt.Errorf("the type of the objects must be a pointer to a struct, not %s", t)
	}
	obj, ok := reflect.New(t.Elem()).Interface().(runtime.Object)
	if !ok {
		return fmt.Errorf("%s is no runtime.Object", t)
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
		return fmt.Errorf("%s is no kind that can be listed (the scheme knows it as %v)", t, known)
	case len(kinds) > 1:
		return fmt.Errorf("%s stands for several kinds: say by cells.Kind which of %v", t, kinds)
	case !p.scheme.Recognizes(listOf(kinds[0])):
		return fmt.Errorf("the scheme %s does not know %s, the list of %s", p.scheme.Name(), listOf(kinds[0]), t)
	case !p.scheme.Recognizes(schema.GroupVersion{Version: "v1"}.WithKind("Status")):
		return fmt.Errorf("the scheme %s does not know what servers answer: call metav1.AddToGroupVersion on it for %s",
			p.scheme.Name(), kinds[0].GroupVersion())
	}
	p.gvk = kinds[0]
	p.target = target{Group: p.gvk.Group, Version: p.gvk.Version, Kind: p.gvk.Kind}
	return nil
}

// String describes the plan, for people.
func (p plan) String() string {
	var b strings.Builder
	b.WriteString(p.target.String())
	if p.namespace != "" {
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
