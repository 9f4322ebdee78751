// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package status_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"

	"github.com/apiary-go/apiary/status"
)

var (
	client dynamic.Interface
	ids    []status.ID
)

// Wait for applied objects for five minutes at most, or until one of them has failed.
func ExampleEngine_Wait() {
	wait := func(engine *status.Engine, ids []status.ID) error {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
		defer cancel()
		_, err := engine.Wait(ctx, ids, status.OrFailed(status.All(status.Current)))
		var failed *status.FailedError
		if errors.As(err, &failed) {
			for _, s := range failed.Failed {
				fmt.Println(s)
			}
		}
		return err // has the status of each object that is not Current
	}
	_ = wait
}

// Follow a set of objects, and add one to it.
func ExampleEngine_Watch() {
	follow := func(ctx context.Context, engine *status.Engine, ids []status.ID, more status.ID) error {
		w, err := engine.Watch(ctx, ids...)
		if err != nil {
			return err
		}
		defer w.Close()
		for ev := range w.Events() {
			switch ev.Type {
			case status.ResourceUpdate:
				fmt.Println(ev.Resource)
			case status.Synced:
				fmt.Println("all objects:", status.Aggregate(w.Statuses(), status.Current))
				if err := w.Add(more); err != nil {
					return err
				}
			}
		}
		return w.Err()
	}
	_ = follow
}

// A rule for a kind, and the kind of its children.
func ExampleRules() {
	rollout := schema.GroupKind{Group: "example.com", Kind: "Rollout"}
	rules := &status.Rules{
		ByKind: map[schema.GroupKind]status.Rule{rollout: func(obj *unstructured.Unstructured, _ []status.ObjectStatus, _ time.Time) (status.Result, error) {
			phase, _, err := unstructured.NestedString(obj.Object, "status", "phase")
			if err != nil {
				return status.Result{}, err
			}
			if phase == "Healthy" {
				return status.Result{Status: status.Current}, nil
			}
			return status.Result{Status: status.InProgress, Message: "The phase is " + phase}, nil
		}},
		Owns: map[schema.GroupKind][]schema.GroupKind{rollout: {{Group: "apps", Kind: "ReplicaSet"}}},
		Jobs: status.JobStarted,
	}
	_, err := status.New(status.Config{Dynamic: client, Mapping: status.ByMapper(mapper), Rules: rules})
	if err != nil {
		log.Fatal(err)
	}
}

var mapper meta.RESTMapper

// Poll until all objects are current. The Poll ends with the context.
func ExamplePollerEngine() {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	engine := &status.PollerEngine{Reader: status.NewReader(client, mapper), Mapper: mapper}
	all := status.NewCollector(ids...)
	done := errors.New("all are current")
	err := all.Listen(ctx, engine.Poll(ctx, ids, status.Options{}), func(status.Event) error {
		if all.Synced() && status.Aggregate(all.Statuses(), status.Current) == status.Current {
			return done
		}
		return nil
	})
	if err != done {
		log.Fatal(err)
	}
}
