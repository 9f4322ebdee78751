// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package cells

import (
	"encoding/base64"
	"fmt"
	"slices"

	"github.com/spf13/pflag"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// serverFields are the metadata that the server sets. Tests that compare objects need them
// left out. The names of the flag are those of Cilium.
var serverFields = map[string]string{
	"resource-version":   "resourceVersion",
	"uid":                "uid",
	"generation":         "generation",
	"creation-timestamp": "creationTimestamp",
	"managed-fields":     "managedFields",
}

func redactedFlag(fs *pflag.FlagSet) {
	fs.StringSlice("show-redacted", nil,
		"Redacted fields to show (resource-version, uid, generation, creation-timestamp, managed-fields)")
}

// redactedHelp is help for commands with redactedFlag.
var redactedHelp = []string{
	"The metadata that the server sets is left out: see '--show-redacted'.",
	"The data of a Secret is never shown, only its keys and sizes.",
}

// showObject returns what commands show of obj. gvk is the kind of an object that does not
// have its kind.
func showObject(obj runtime.Object, gvk schema.GroupVersionKind, secret bool, flags *pflag.FlagSet) (map[string]any, error) {
	show, _ := flags.GetStringSlice("show-redacted")
	for _, name := range show {
		if serverFields[name] == "" {
			return nil, fmt.Errorf("--show-redacted: there is no field %q", name)
		}
	}
	content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(obj)
	if err != nil {
		return nil, err
	}
	content = runtime.DeepCopyJSON(content) // that of an Unstructured is not a copy
	u := &unstructured.Unstructured{Object: content}
	if u.GetKind() == "" && !gvk.Empty() {
		u.SetGroupVersionKind(gvk)
	}
	for flag, field := range serverFields {
		if !slices.Contains(show, flag) {
			unstructured.RemoveNestedField(content, "metadata", field)
		}
	}
	if secret || u.GroupVersionKind().GroupKind() == secretKind {
		hideData(content)
	}
	return content, nil
}

var secretKind = schema.GroupKind{Kind: "Secret"}

func (t target) isSecret() bool {
	return t.Group == "" && (t.Kind == secretKind.Kind || t.Resource == "secrets")
}

// hideData replaces the data of a Secret by its size. Of a type of the user, the name of the
// field with the data is not known. An annotation can have a copy of the data.
func hideData(secret map[string]any) {
	for field, value := range secret {
		switch field {
		case "apiVersion", "kind", "type", "immutable":
		case "metadata":
			if m, ok := value.(map[string]any); ok && m["annotations"] != nil {
				m["annotations"] = sizes(m["annotations"], false)
			}
		default:
			secret[field] = sizes(value, field == "data")
		}
	}
}

// sizes replaces value, or the values in it, by their sizes.
func sizes(value any, inBase64 bool) any {
	values, ok := value.(map[string]any)
	if !ok {
		return size(value, inBase64)
	}
	of := make(map[string]any, len(values))
	for key, v := range values {
		of[key] = size(v, inBase64)
	}
	return of
}

func size(value any, inBase64 bool) string {
	text, ok := value.(string)
	if !ok {
		text = fmt.Sprint(value)
	}
	n := len(text)
	if raw, err := base64.StdEncoding.DecodeString(text); inBase64 && err == nil {
		n = len(raw)
	}
	if n == 1 {
		return "1 byte"
	}
	return fmt.Sprintf("%d bytes", n)
}
