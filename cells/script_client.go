// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package cells

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/cilium/hive/script"
	"github.com/spf13/pflag"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/util/retry"
	"sigs.k8s.io/yaml"
)

// clientCommands are commands that read and write objects of the API server.
type clientCommands struct {
	client dynamic.Interface
	mapper meta.ResettableRESTMapper
}

// clientTimeout bounds the requests of one command.
const clientTimeout = 30 * time.Second

// fieldManager is the owner of what k8s/apply writes.
const fieldManager = "apiary-script"

// writeObject writes one object.
type writeObject func(ctx context.Context, s *script.State, client dynamic.ResourceInterface, obj *unstructured.Unstructured) error

// writer is a command that does something with each object in some files.
func (c clientCommands) writer(summary string, flags func(*pflag.FlagSet), do writeObject, detail ...string) script.Cmd {
	return script.Command(
		script.CmdUsage{
			Summary: summary,
			Args:    "files...",
			Flags:   flags,
			Detail: append(detail,
				"The files are YAML or JSON, with any number of documents and lists. Namespaced objects",
				"without a namespace are in 'default'. A namespace must exist on a real API server.",
			),
		},
		func(s *script.State, files ...string) (script.WaitFunc, error) {
			if len(files) == 0 {
				return nil, fmt.Errorf("%w: want files", script.ErrUsage)
			}
			ctx, cancel := context.WithTimeout(s.Context(), clientTimeout)
			defer cancel()
			for _, file := range files {
				objects, err := readManifest(s, file)
				if err != nil {
					return nil, fmt.Errorf("%s: %w", file, err)
				}
				for _, obj := range objects {
					client, err := c.clientOf(obj)
					if err == nil {
						err = do(ctx, s, client, obj)
					}
					if err != nil {
						return nil, fmt.Errorf("%s: %s %s: %w", file, obj.GetKind(), obj.GetName(), failure(s, err))
					}
				}
			}
			return nil, nil
		},
	)
}

// clientOf returns the client for obj, and sets its namespace.
func (c clientCommands) clientOf(obj *unstructured.Unstructured) (dynamic.ResourceInterface, error) {
	mapping, err := mappingOf(c.mapper, obj.GroupVersionKind())
	if err != nil {
		return nil, err
	}
	if mapping.Scope.Name() != meta.RESTScopeNameNamespace {
		return c.client.Resource(mapping.Resource), nil
	}
	if obj.GetNamespace() == "" {
		obj.SetNamespace(defaultNamespace)
	}
	return c.client.Resource(mapping.Resource).Namespace(obj.GetNamespace()), nil
}

func (c clientCommands) add() script.Cmd {
	return c.writer("Create K8s objects", noFlags, func(ctx context.Context, _ *script.State, client dynamic.ResourceInterface, obj *unstructured.Unstructured) error {
		clean(obj)
		created, err := client.Create(ctx, obj, metav1.CreateOptions{})
		if err != nil {
			return err
		}
		return writeStatus(ctx, client, obj, created)
	},
		"An object that exists is an error. The status is written too, in a second request.",
	)
}

func (c clientCommands) update() script.Cmd {
	return c.writer("Update K8s objects", func(fs *pflag.FlagSet) {
		fs.Bool("strict", false, "Fail if the resource version in the file is not the current one")
	}, func(ctx context.Context, s *script.State, client dynamic.ResourceInterface, obj *unstructured.Unstructured) error {
		if strict, _ := s.Flags.GetBool("strict"); strict {
			return updateObject(ctx, client, obj)
		}
		return retry.RetryOnConflict(retry.DefaultRetry, func() error {
			current, err := client.Get(ctx, obj.GetName(), metav1.GetOptions{})
			if err != nil {
				return err
			}
			clean(obj)
			obj.SetResourceVersion(current.GetResourceVersion())
			return updateObject(ctx, client, obj)
		})
	},
		"Replaces the whole object, and its status too, in a second request. The resource",
		"version and the UID in the file are ignored, except with '--strict'.",
	)
}

func updateObject(ctx context.Context, client dynamic.ResourceInterface, obj *unstructured.Unstructured) error {
	updated, err := client.Update(ctx, obj, metav1.UpdateOptions{})
	if err != nil {
		return err
	}
	return writeStatus(ctx, client, obj, updated)
}

func (c clientCommands) apply() script.Cmd {
	return c.writer("Apply K8s objects", noFlags, func(ctx context.Context, _ *script.State, client dynamic.ResourceInterface, obj *unstructured.Unstructured) error {
		clean(obj)
		opts := metav1.ApplyOptions{FieldManager: fieldManager, Force: true}
		if _, err := client.Apply(ctx, obj.GetName(), obj, opts); err != nil || obj.Object["status"] == nil {
			return err
		}
		unstructured.RemoveNestedField(obj.Object, "spec")
		_, err := client.ApplyStatus(ctx, obj.GetName(), obj, opts)
		return withoutStatus(err)
	},
		"Server-side apply: creates the object, or changes the fields that the file has, also",
		"those of other owners. The status is applied too, in a second request.",
	)
}

func (c clientCommands) delete() script.Cmd {
	return c.writer("Delete K8s objects", noFlags, func(ctx context.Context, _ *script.State, client dynamic.ResourceInterface, obj *unstructured.Unstructured) error {
		now := int64(0)
		return client.Delete(ctx, obj.GetName(), metav1.DeleteOptions{GracePeriodSeconds: &now})
	},
		"Deletes the objects with the kinds and names in the files, without a grace period. A",
		"missing object is an error.",
	)
}

func noFlags(*pflag.FlagSet) {}

// clean removes the metadata that the server sets.
func clean(obj *unstructured.Unstructured) {
	for _, field := range serverFields {
		unstructured.RemoveNestedField(obj.Object, "metadata", field)
	}
}

// writeStatus writes the status of obj, if it has one that was not written with the object.
func writeStatus(ctx context.Context, client dynamic.ResourceInterface, obj, written *unstructured.Unstructured) error {
	if obj.Object["status"] == nil {
		return nil
	}
	written.Object["status"] = obj.Object["status"]
	_, err := client.UpdateStatus(ctx, written, metav1.UpdateOptions{})
	return withoutStatus(err)
}

// withoutStatus returns nil if the kind has no subresource status. The status is then
// written with the object.
func withoutStatus(err error) error {
	if apierrors.IsNotFound(err) || apierrors.IsMethodNotSupported(err) {
		return nil
	}
	return err
}

func (c clientCommands) get() script.Cmd {
	return script.Command(
		script.CmdUsage{
			Summary: "Get a K8s object",
			Args:    "resource [namespace/]name",
			Flags:   objectFlags,
			Detail: slices.Concat([]string{"Requests the object from the API server."}, kindHelp, redactedHelp,
				[]string{"", "> k8s/get v1.configmaps shop/settings -o actual.yaml"}),
			AutocompleteFlag: completeFormat(formatYAML, formatJSON),
		},
		func(s *script.State, args ...string) (script.WaitFunc, error) {
			if err := wantArgs(args, "a resource", "a name"); err != nil {
				return nil, err
			}
			mapping, err := findKind(c.mapper, args[0])
			if err != nil {
				return nil, err
			}
			namespace, name, found := strings.Cut(args[1], "/")
			if !found {
				namespace, name = "", args[1]
			}
			if mapping.Scope.Name() == meta.RESTScopeNameNamespace && namespace == "" {
				namespace = defaultNamespace
			}
			ctx, cancel := context.WithTimeout(s.Context(), clientTimeout)
			defer cancel()
			obj, err := c.client.Resource(mapping.Resource).Namespace(namespace).Get(ctx, name, metav1.GetOptions{})
			if err != nil {
				return nil, failure(s, err)
			}
			shown, err := showObject(obj, mapping.GroupVersionKind, false, s.Flags)
			if err != nil {
				return nil, err
			}
			return writeValue(s, shown)
		},
	)
}

func (c clientCommands) list() script.Cmd {
	return script.Command(
		script.CmdUsage{
			Summary: "List K8s objects",
			Args:    "resource namespace",
			Flags:   objectFlags,
			Detail: slices.Concat([]string{"Requests the objects from the API server, those of all namespaces with ''."}, kindHelp, redactedHelp,
				[]string{"", "> k8s/list v1.configmaps '' -o actual.yaml"}),
			AutocompleteFlag: completeFormat(formatYAML, formatJSON),
		},
		func(s *script.State, args ...string) (script.WaitFunc, error) {
			if err := wantArgs(args, "a resource", "a namespace"); err != nil {
				return nil, err
			}
			mapping, err := findKind(c.mapper, args[0])
			if err != nil {
				return nil, err
			}
			ctx, cancel := context.WithTimeout(s.Context(), clientTimeout)
			defer cancel()
			list, err := c.client.Resource(mapping.Resource).Namespace(args[1]).List(ctx, metav1.ListOptions{})
			if err != nil {
				return nil, failure(s, err)
			}
			items := []any{}
			for i := range list.Items {
				shown, err := showObject(&list.Items[i], mapping.GroupVersionKind, false, s.Flags)
				if err != nil {
					return nil, err
				}
				items = append(items, shown)
			}
			return writeValue(s, map[string]any{"apiVersion": list.GetAPIVersion(), "kind": list.GetKind(), "items": items})
		},
	)
}

func objectFlags(fs *pflag.FlagSet) {
	fileFlags(fs, formatYAML, formatJSON)
	redactedFlag(fs)
}

// readManifest reads the objects of a file, which is relative to the directory of the script
// or, as in Cilium, to that of the program.
func readManifest(s *script.State, file string) (objects []*unstructured.Unstructured, err error) {
	data, err := os.ReadFile(s.Path(file))
	if errors.Is(err, os.ErrNotExist) {
		data, err = os.ReadFile(file)
	}
	if err != nil {
		return nil, err
	}
	documents := utilyaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(data)))
	for {
		document, err := documents.Read()
		if errors.Is(err, io.EOF) && len(objects) > 0 {
			return objects, nil
		} else if err != nil {
			return nil, fmt.Errorf("no objects: %w", err)
		}
		text, err := yaml.YAMLToJSON(document)
		if err != nil {
			return nil, err
		}
		if string(text) == "null" {
			continue // only comments
		}
		obj := &unstructured.Unstructured{}
		if err := obj.UnmarshalJSON(text); err != nil {
			return nil, err
		}
		if !obj.IsList() {
			objects = append(objects, obj)
			continue
		}
		list, err := obj.ToList()
		if err != nil {
			return nil, err
		}
		for i := range list.Items {
			objects = append(objects, &list.Items[i])
		}
	}
}
