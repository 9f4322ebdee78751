// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package apiary_test

import (
	"context"
	"fmt"
	"log"
	"log/slog"
	"sync"

	"github.com/cilium/hive"
	"github.com/cilium/hive/cell"
	corev1 "k8s.io/api/core/v1"

	"github.com/apiary-go/apiary/cells"
	"github.com/apiary-go/apiary/informer"
	"github.com/apiary-go/apiary/informer/mirror"
	"github.com/apiary-go/apiary/informer/push"
	"github.com/apiary-go/apiary/resource"
	"github.com/apiary-go/apiary/store"
)

// printPods is a consumer that prints pods.
func printPods(lc cell.Lifecycle, pods resource.Resource[*corev1.Pod]) {
	lc.Append(cell.Hook{OnStart: func(cell.HookContext) error {
		go func() {
			for ev := range pods.Events(context.Background()) { // closed when the hive stops
				switch ev.Kind {
				case resource.Upsert:
					fmt.Println(ev.Key, ev.Object.Status.Phase)
				case resource.Delete:
					fmt.Println(ev.Key, "is gone")
				case resource.Sync:
					fmt.Println("all existing pods were printed")
				}
				ev.Done(nil) // required; Done(err) emits the key again, after a backoff
			}
		}()
		return nil
	}})
}

// An application that follows the pods of a cluster.
func Example() {
	app := hive.New(
		cells.Client,                  // the Kubernetes clients and their flags
		cells.Resource[*corev1.Pod](), // the pods of all namespaces
		cell.Invoke(printPods),
	)
	if err := app.Run(slog.Default()); err != nil { // returns after SIGINT or SIGTERM
		log.Fatal(err)
	}
}

// mirrorPods copies the pods of a cluster to a database.
func mirrorPods(p cells.Params, db *database) error {
	versions := mirror.NewResourceVersionStorage()
	for _, row := range db.rows { // the key, UID and version of each row
		if err := versions.Set(row, 0); err != nil { // 0: no list has shown the object yet
			return err
		}
	}
	var err error
	db.informer, err = cells.NewMirror("pods", p, mirror.InformerConfig[*corev1.Pod]{
		Handler:       db,        // OnAdd, OnUpdate, OnDelete; an error means a retry
		Storage:       versions,  // what the rows have
		ResumeVersion: db.resume, // saved in the transactions of the rows
		SkipSync:      true,      // rows that are up to date need no call
	})
	return err
}

// write is a transaction.
func (db *database) write(rows func()) error {
	db.mu.Lock()
	defer db.mu.Unlock()
	rows()
	db.resume = db.informer.ResumeVersion() // within the transaction, after the rows
	return nil
}

// UpdateResourceVersion is called when the resume version has changed, also if no row has.
func (db *database) UpdateResourceVersion(context.Context, string) error {
	return db.write(func() {})
}

// database stands for one.
type database struct {
	informer *mirror.ResourceVersionInformer[*corev1.Pod]

	mu     sync.Mutex
	rows   map[store.Key]store.Meta
	resume string
}

func (db *database) OnAdd(_ context.Context, pod informer.Object[*corev1.Pod]) error {
	return db.write(func() { db.rows[pod.Key] = pod.Meta })
}

func (db *database) OnUpdate(_ context.Context, _ store.Meta, pod informer.Object[*corev1.Pod]) error {
	return db.write(func() { db.rows[pod.Key] = pod.Meta })
}

func (db *database) OnDelete(_ context.Context, gone mirror.Deletion[*corev1.Pod]) error {
	return db.write(func() { delete(db.rows, gone.Key) })
}

func (db *database) OnSync(context.Context, informer.Object[*corev1.Pod]) error { return nil }

func newDatabase() *database { return &database{rows: map[store.Key]store.Meta{}} }

// An application that mirrors the pods of a cluster.
func Example_mirror() {
	app := hive.New(
		cells.Client,
		cell.Provide(newDatabase),
		cell.Invoke(mirrorPods),
	)
	if err := app.Run(slog.Default()); err != nil { // returns after SIGINT or SIGTERM
		log.Fatal(err)
	}
}

// inventory stands for a remote service.
type inventory struct {
	push.BatchConsumer[*corev1.Pod]
}

// An application that pushes pods to a remote service.
func Example_push() {
	app := hive.New(
		cells.Client,
		cell.Provide(func() *inventory { return &inventory{} }),
		cells.Push[*corev1.Pod, *inventory](cells.WithLabelSelector("app=web")), // *inventory is a push.BatchConsumer
	)
	if err := app.Run(slog.Default()); err != nil { // returns after SIGINT or SIGTERM
		log.Fatal(err)
	}
}
