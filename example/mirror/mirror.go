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

// workers is how many changes of a collection may wait for a transaction at a time:
// so many can share one.
const workers = 64

// progressEvery is how often it is told how far a long list is.
const progressEvery = 10 * time.Second

// copier keeps the rows of one collection in step with the server. It is the handler
// of its informer: see handler.go.
type copier struct {
	collection
	informer    *mirror.ResourceVersionInformer[*unstructured.Unstructured]
	resumedFrom string
	writer      *writer
	print       *printer
	inStep      inStep
}

// newMirror makes a mirror that does nothing until run. It remembers what the rows
// say, and goes on from the version that was saved with them.
func newMirror(c collection, db *database, w *writer, lw cache.ListerWatcher, lines *printer, log *slog.Logger) (*copier, error) {
	versions := mirror.NewResourceVersionStorage()
	resumeVersion, err := db.read(c.String(), func(meta store.Meta, _ []byte) error {
		return versions.Set(meta, 0)
	})
	if err != nil {
		return nil, err
	}
	m := &copier{collection: c, resumedFrom: resumeVersion, writer: w, print: lines}
	// Without a ListBudget of their own all informers share that of the process.
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

// withoutManagedFields drops what is often half of an object and of interest to the
// server only.
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
	// The version may be newer than the one that was saved last. That would do
	// as well, but the server would tell some events once more.
	_ = m.write(context.Background(), nil) // the writer has logged it
}

// inStep is when to say that the rows are in step with the server.
type inStep struct {
	mu           sync.Mutex
	listing      bool                 // a list has begun, which may take more than one attempt
	before       mirror.InformerStats // as they were then
	listed, told uint64               // how many lists were completed, and told of
	reason       store.Reason
	progress     time.Time // when it was told last how far a list is
}

// observe implements informer.Observer.
func (m *copier) observe(info informer.ReflectorInfo, o informer.Occurrence) {
	s := &m.inStep
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
		m.checkInStep()
	case informer.WatchOpened:
		if info.Err != nil {
			m.print.line("%s: in contact with the server again", m)
		}
	}
}

// checkInStep prints a line when all that a list had is in the file: there is a
// resume version then, and none before. It is called whenever that may be, with
// m.inStep locked.
func (m *copier) checkInStep() {
	s := &m.inStep
	if s.listed > s.told && m.informer.ResumeVersion() != "" {
		s.told = s.listed
		m.printListed(s.reason, s.before)
	}
}
