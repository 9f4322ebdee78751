// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package devcluster

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/yaml"
)

// crdTimeout bounds the time until custom resources are served. It takes about
// two seconds.
const crdTimeout = 30 * time.Second

const crdPath = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"

// crd holds the fields of a CustomResourceDefinition that this package reads.
type crd struct {
	object map[string]any

	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	Metadata   struct {
		Name string `json:"name"`
	} `json:"metadata"`
	Spec struct {
		Group string `json:"group"`
		Names struct {
			Plural string `json:"plural"`
		} `json:"names"`
		Versions []struct {
			Name   string `json:"name"`
			Served bool   `json:"served"`
		} `json:"versions"`
	} `json:"spec"`
}

// InstallCRDs creates or replaces CustomResourceDefinitions. It returns when every
// served version is in discovery and can be listed. Each manifest is YAML or JSON
// with one or more definitions, as YAML documents or as a List. Typed objects must
// be encoded first, for example with sigs.k8s.io/yaml.
//
// Errors of the server are wrapped for the functions of
// k8s.io/apimachinery/pkg/api/errors. Definitions before the failed one stay
// installed. InstallCRDs also fails if a definition cannot be used within 30 seconds,
// for example because its names are taken. The error contains its conditions.
func (c *Cluster) InstallCRDs(ctx context.Context, manifests ...[]byte) error {
	if err := c.running(); err != nil {
		return err
	}
	var all []crd
	for i, manifest := range manifests {
		crds, err := parseCRDs(manifest)
		if err != nil {
			return fmt.Errorf("devcluster: manifest %d: %w", i, err)
		}
		all = append(all, crds...)
	}
	ctx, cancel := context.WithTimeoutCause(ctx, crdTimeout,
		fmt.Errorf("%s have passed: %w", crdTimeout, context.DeadlineExceeded))
	defer cancel()
	for _, d := range all {
		if err := c.api.put(ctx, crdPath, d.Metadata.Name, d.object); err != nil {
			return fmt.Errorf("devcluster: install %s: %w", d.Metadata.Name, err)
		}
	}
	for _, d := range all {
		if err := c.waitServed(ctx, d); err != nil {
			return fmt.Errorf("devcluster: install %s: %w", d.Metadata.Name, err)
		}
	}
	return nil
}

func parseCRDs(manifest []byte) ([]crd, error) {
	var crds []crd
	decoder := yaml.NewYAMLOrJSONDecoder(bytes.NewReader(manifest), 4096)
	for {
		var raw json.RawMessage
		err := decoder.Decode(&raw)
		if errors.Is(err, io.EOF) {
			if len(crds) == 0 {
				return nil, errors.New("it contains no CustomResourceDefinition")
			}
			return crds, nil
		}
		if err != nil {
			return nil, fmt.Errorf("parse: %w", err)
		}
		if len(raw) == 0 || string(raw) == "null" {
			continue
		}
		found, err := parseCRD(raw)
		if err != nil {
			return nil, err
		}
		crds = append(crds, found...)
	}
}

func parseCRD(raw json.RawMessage) ([]crd, error) {
	var list struct {
		Kind  string            `json:"kind"`
		Items []json.RawMessage `json:"items"`
	}
	if err := json.Unmarshal(raw, &list); err != nil {
		return nil, fmt.Errorf("parse: %w", err)
	}
	if list.Kind == "List" || list.Kind == "CustomResourceDefinitionList" {
		var crds []crd
		for _, item := range list.Items {
			found, err := parseCRD(item)
			if err != nil {
				return nil, err
			}
			crds = append(crds, found...)
		}
		return crds, nil
	}
	var d crd
	if err := errors.Join(json.Unmarshal(raw, &d), json.Unmarshal(raw, &d.object)); err != nil {
		return nil, fmt.Errorf("parse: %w", err)
	}
	if d.Kind != "CustomResourceDefinition" || d.APIVersion != "apiextensions.k8s.io/v1" {
		return nil, fmt.Errorf("%s %q of %q is not a CustomResourceDefinition of apiextensions.k8s.io/v1; create it with a client", d.Kind, d.Metadata.Name, d.APIVersion)
	}
	return []crd{d}, nil
}

// waitServed waits until the server serves the resources of d.
func (c *Cluster) waitServed(ctx context.Context, d crd) error {
	var conditions []metav1.Condition
	err := c.poll(ctx, "it is established", func(ctx context.Context) (bool, error) {
		var now struct {
			Status struct {
				Conditions []metav1.Condition `json:"conditions"`
			} `json:"status"`
		}
		if err := c.api.do(ctx, http.MethodGet, crdPath+"/"+d.Metadata.Name, nil, &now); err != nil {
			return false, err
		}
		conditions = now.Status.Conditions
		return slices.ContainsFunc(conditions, func(x metav1.Condition) bool {
			return x.Type == "Established" && x.Status == metav1.ConditionTrue
		}), nil
	})
	if err != nil {
		for _, x := range conditions {
			err = fmt.Errorf("%w; condition %s is %s: %s", err, x.Type, x.Status, x.Message)
		}
		return err
	}
	for _, version := range d.Spec.Versions {
		if !version.Served {
			continue
		}
		path := "/apis/" + d.Spec.Group + "/" + version.Name
		err := c.poll(ctx, "version "+version.Name+" is served", func(ctx context.Context) (bool, error) {
			return c.served(ctx, path, d.Spec.Names.Plural)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// served returns true if discovery has the resource and it can be listed.
func (c *Cluster) served(ctx context.Context, path, plural string) (bool, error) {
	var resources metav1.APIResourceList
	err := c.api.do(ctx, http.MethodGet, path, nil, &resources)
	if err == nil {
		if !slices.ContainsFunc(resources.APIResources, func(r metav1.APIResource) bool { return r.Name == plural }) {
			return false, nil
		}
		err = c.api.do(ctx, http.MethodGet, path+"/"+plural+"?limit=1", nil, nil)
	}
	switch {
	case err == nil:
		return true, nil
	case apierrors.IsNotFound(err), apierrors.IsServiceUnavailable(err), apierrors.IsTooManyRequests(err):
		return false, nil
	}
	return false, err
}
