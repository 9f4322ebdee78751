// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package main

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/tools/cache"

	"github.com/apiary-go/apiary/informer"
	"github.com/apiary-go/apiary/informer/mirror"
	"github.com/apiary-go/apiary/store"
)

// workers is how many changes of a collection can wait for a transaction, and so share
// it.
const workers = 64

// progressEvery is the time between two lines about a long list.
const progressEvery = 10 * time.Second

// copier keeps the rows of one collection equal to the objects of the server. It is the
// handler of its informer: see handler.go.
type copier struct {
	collection
	informer    *mirror.ResourceVersionInformer[*unstructured.Unstructured]
	resumedFrom string
	writer      *writer
	print       *printer
	lists       listReports
}

// newMirror returns a mirror that does nothing until run. Its informer starts with the
// versions of the rows and the resume version that was saved with them.
func newMirror(c collection, db *database, w *writer, lw cache.ListerWatcher, lines *printer, log *slog.Logger) (*copier, error) {
	versions := mirror.NewResourceVersionStorage()
	resumeVersion, err := db.read(c.String(), func(meta store.Meta, _ []byte) error {
		return versions.Set(meta, 0)
	})
	if err != nil {
		return nil, err
	}
	m := &copier{collection: c, resumedFrom: resumeVersion, writer: w, print: lines}
	// ListBudget is not set: all informers share that of the process.
	m.informer, err = mirror.NewResourceVersionInformer(c.String(), mirror.InformerConfig[*unstructured.Unstructured]{
		ListerWatcher: lw,
		Transform:     withoutManagedFields,
		Handler:       m,
		SkipSync:      true,
		Storage:       versions,
		ResumeVersion: resumeVersion,
		Workers:       workers,
		Observer:      informer.Observers(informer.LogObserver(log), informer.ObserverFunc(m.observe)),
		ErrorHandler:  func(informer.ReflectorInfo, error) {}, // the observer and the writer have logged it
	})
	if err != nil {
		return nil, fmt.Errorf("mirror %s: %w", c, err)
	}
	return m, nil
}

// withoutManagedFields removes the managed fields, which are often half of an object
// and serve only the server.
func withoutManagedFields(obj runtime.Object) (*unstructured.Unstructured, error) {
	u, ok := obj.(*unstructured.Unstructured)
	if !ok {
		return nil, fmt.Errorf("the object is a %T, which this program does not expect", obj)
	}
	u.SetManagedFields(nil)
	return u, nil
}

// run mirrors until ctx ends. The writer must run.
func (m *copier) run(ctx context.Context) {
	var wg sync.WaitGroup
	wg.Go(func() {
		select {
		case <-m.informer.Synced():
			m.printResumed()
		case <-ctx.Done():
		}
	})
	_ = m.informer.Run(ctx) // the cause of the end of ctx
	wg.Wait()
	// Save the newest version. From an older one the server would repeat some events.
	_ = m.write(context.Background(), nil) // the writer has logged it
}

// listReports decides when to print a line about a list.
type listReports struct {
	mu               sync.Mutex
	listing          bool                 // a list has begun; it can take more than one attempt
	before           mirror.InformerStats // at its beginning
	listed, reported uint64               // how many lists were completed, and printed
	reason           store.Reason
	progress         time.Time // of the last line about a list in progress
}

// observe implements informer.Observer.
func (m *copier) observe(info informer.ReflectorInfo, o informer.Occurrence) {
	s := &m.lists
	s.mu.Lock()
	defer s.mu.Unlock()
	switch o := o.(type) {
	case informer.ListStarted:
		if !s.listing {
			s.listing, s.before, s.progress = true, m.informer.Stats(), time.Now()
		}
	case informer.PageRead:
		if time.Since(s.progress) > progressEvery {
			s.progress = time.Now()
			m.printProgress()
		}
	case informer.ListDone:
		s.listing = false
		s.listed++
		s.reason = o.Pass.Reason
		m.reportListed()
	case informer.WatchOpened:
		if info.Err != nil {
			m.print.line("%s: reconnected to the server", m)
		}
	}
}

// reportListed prints a line when all objects of a list are in the file. Only then is there
// a resume version. The caller holds the mutex of m.lists.
func (m *copier) reportListed() {
	s := &m.lists
	if s.listed > s.reported && m.informer.ResumeVersion() != "" {
		s.reported = s.listed
		m.printListed(s.reason, s.before)
	}
}
