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

// Of each object the informer remembers only the key, the UID and the version, and
// what it tells the handler follows from that. A nil error says that the change is
// in the file: it is then remembered, and not told again.
var (
	_ mirror.ResourceEventHandler[*unstructured.Unstructured] = (*copier)(nil)
	_ mirror.ResourceVersionUpdater                           = (*copier)(nil)
)

// OnAdd implements mirror.ResourceEventHandler. The row may be there, if the
// object was written before and that was not acknowledged.
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

// OnDelete implements mirror.ResourceEventHandler. To delete a row that is not
// there is no error.
func (m *copier) OnDelete(ctx context.Context, gone mirror.Deletion[*unstructured.Unstructured]) error {
	err := m.write(ctx, func(rows *bbolt.Bucket) error { return rows.Delete([]byte(gone.Key.String())) })
	if err == nil {
		m.print.detail("%s: deleted %s", m, gone.Key)
	}
	return err
}

// OnSync implements mirror.ResourceEventHandler. It is not called, because of
// InformerConfig.SkipSync: a row that is as it should be is of no interest.
func (m *copier) OnSync(context.Context, informer.Object[*unstructured.Unstructured]) error {
	return nil
}

// UpdateResourceVersion implements mirror.ResourceVersionUpdater: the resume
// version moves also when no row does. The writer asks for it once more, since the
// one given here may have been overtaken by a transaction meanwhile.
func (m *copier) UpdateResourceVersion(ctx context.Context, resourceVersion string) error {
	if err := m.write(ctx, nil); err != nil {
		return err
	}
	if resourceVersion != "" {
		m.print.detail("%s: everything up to version %s is in the file", m, resourceVersion)
	}
	m.inStep.mu.Lock()
	defer m.inStep.mu.Unlock()
	m.checkInStep()
	return nil
}

func (m *copier) write(ctx context.Context, apply func(rows *bbolt.Bucket) error) error {
	return m.writer.write(ctx, change{collection: m.String(), resumeVersion: m.informer.ResumeVersion, apply: apply})
}
