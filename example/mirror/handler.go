// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package main

import (
	"context"
	"encoding/json"
	"fmt"

	"go.etcd.io/bbolt"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/apiary-go/apiary/informer"
	"github.com/apiary-go/apiary/informer/mirror"
	"github.com/apiary-go/apiary/store"
)

// The informer keeps only the key, the UID and the version of each object, and calls the
// handler for differences. After a nil error the change is in the file, and the informer
// records it. After an error it repeats the call.
var (
	_ mirror.ResourceEventHandler[*unstructured.Unstructured] = (*copier)(nil)
	_ mirror.ResourceVersionUpdater                           = (*copier)(nil)
)

// OnAdd implements mirror.ResourceEventHandler. The row can exist already, if it was
// written and not acknowledged.
func (m *copier) OnAdd(ctx context.Context, obj informer.Object[*unstructured.Unstructured]) error {
	return m.put(ctx, obj)
}

// OnUpdate implements mirror.ResourceEventHandler.
func (m *copier) OnUpdate(ctx context.Context, _ store.Meta, obj informer.Object[*unstructured.Unstructured]) error {
	return m.put(ctx, obj)
}

func (m *copier) put(ctx context.Context, obj informer.Object[*unstructured.Unstructured]) error {
	data, err := json.Marshal(obj.Object.Object)
	if err != nil {
		return fmt.Errorf("encode the object: %w", err)
	}
	row := encodeRow(obj.Meta, data)
	err = m.write(ctx, func(rows *bbolt.Bucket) error { return rows.Put([]byte(obj.Key.String()), row) })
	if err == nil {
		m.print.detail("%s: wrote %s at version %s", m, obj.Key, obj.Version)
	}
	return err
}

// OnDelete implements mirror.ResourceEventHandler. A missing row is no error.
func (m *copier) OnDelete(ctx context.Context, gone mirror.Deletion[*unstructured.Unstructured]) error {
	err := m.write(ctx, func(rows *bbolt.Bucket) error { return rows.Delete([]byte(gone.Key.String())) })
	if err == nil {
		m.print.detail("%s: deleted %s", m, gone.Key)
	}
	return err
}

// OnSync implements mirror.ResourceEventHandler. InformerConfig.SkipSync disables it,
// since rows that are up to date need nothing.
func (m *copier) OnSync(context.Context, informer.Object[*unstructured.Unstructured]) error {
	return nil
}

// UpdateResourceVersion implements mirror.ResourceVersionUpdater. The resume version
// also moves without a change of a row. The writer reads it again, since the one given
// here can be older than the last transaction.
func (m *copier) UpdateResourceVersion(ctx context.Context, resourceVersion string) error {
	if err := m.write(ctx, nil); err != nil {
		return err
	}
	if resourceVersion != "" {
		m.print.detail("%s: everything up to version %s is in the file", m, resourceVersion)
	}
	m.lists.mu.Lock()
	defer m.lists.mu.Unlock()
	m.reportListed()
	return nil
}

func (m *copier) write(ctx context.Context, apply func(rows *bbolt.Bucket) error) error {
	return m.writer.write(ctx, change{collection: m.String(), resumeVersion: m.informer.ResumeVersion, apply: apply})
}
