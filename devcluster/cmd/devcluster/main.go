// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

// Command devcluster runs a real Kubernetes API server and its etcd in one process
// on loopback, for development and tests.
//
//	go run github.com/apiary-go/apiary/devcluster/cmd/devcluster@latest
//
// Run it with --help for its flags. The package
// github.com/apiary-go/apiary/devcluster runs it from a go test.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/apiary-go/apiary/devcluster/internal/private"
	"github.com/apiary-go/apiary/devcluster/internal/server"
	"github.com/apiary-go/apiary/devcluster/internal/tail"
	"github.com/apiary-go/apiary/devcluster/internal/wire"
)

const (
	// stopGrace bounds the graceful stop. Afterwards the process exits anyway.
	stopGrace = 2500 * time.Millisecond
	// startGrace bounds the steps of a start that cannot be aborted. They make files,
	// which must not appear after the temporary directory is removed.
	startGrace = 10 * time.Second
)

func main() {
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	if !signal.Ignored(syscall.SIGHUP) { // as nohup has it
		signal.Notify(signals, syscall.SIGHUP)
	}
	// The log is a pipe to the parent. After the parent's death, a write must fail
	// instead of ending this process before it has cleaned up.
	signal.Ignore(syscall.SIGPIPE)
	private.Umask()
	err := run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr, signals)
	if err != nil {
		fmt.Fprintf(os.Stderr, "devcluster: %v\n", err)
		os.Exit(1)
	}
}

// ending is a reason to stop the cluster.
type ending struct {
	why  string
	keep bool  // leave the temporary directory for a restart
	err  error // not nil if the server failed
}

// endings holds the first reason to stop. Further ones are dropped.
type endings chan ending

func (c endings) add(e ending) {
	select {
	case c <- e:
	default:
	}
}

// lastLines introduces the end of the server's log in an error.
const lastLines = "\nlast lines of the log:"

// errFatal is the error of a cluster after a fatal error of its server.
var errFatal = errors.New("the API server or its etcd had a fatal error; see its log")

func run(args []string, stdin io.Reader, stdout, stderr io.Writer, signals <-chan os.Signal) (err error) {
	o, err := parse(args, stdout)
	switch {
	case err != nil || o.help:
		return err
	case o.version:
		_, err := fmt.Fprintf(stdout, "kube-apiserver %s\n", server.Version())
		return err
	}
	temp, err := openTemp(o.tempDir)
	if err != nil {
		return err
	}
	remove := temp.made
	defer func() {
		if remove {
			err = errors.Join(err, temp.remove())
		}
	}()
	if err := o.checkKept(temp); err != nil {
		return err
	}
	file, err := o.newKubeconfig(temp)
	if err != nil {
		return err
	}
	defer func() {
		if o.kubeconfig != "" {
			err = errors.Join(err, file.remove())
		}
	}()
	ended := make(endings, 1)
	// These two goroutines block in reads that only the end of the process ends. The
	// process ends after run.
	go func() {
		for s := range signals {
			ended.add(ending{why: s.String()})
		}
	}()
	if o.exitOnStdinClose {
		go func() { ended.add(readStdin(stdin)) }()
	}
	remove, err = o.serve(temp, file, stdout, stderr, ended)
	return err
}

// serve runs the cluster until there is a reason to stop. remove is true if the
// caller must remove the temporary directory.
func (o options) serve(temp *tempDir, file *kubeconfig, stdout, stderr io.Writer, ended endings) (remove bool, err error) {
	remove = temp.made
	log := &tail.Writer{Max: 40}
	logTo, closeLog, err := o.openLog(log, stderr)
	if err != nil {
		return remove, err
	}
	defer func() { err = errors.Join(err, closeLog()) }()

	if !o.readyJSON {
		fmt.Fprintf(stdout, "Starting kube-apiserver %s and etcd ...\n", server.Version())
	}
	began := time.Now()
	s, e, err := start(o, temp.path, logTo, ended)
	if err != nil {
		return remove, fmt.Errorf("%w%s", err, log.Text(lastLines))
	}
	if s == nil {
		return o.removes(e), nil
	}
	info := s.Info()
	info.Kubeconfig = file.path
	if e.err = file.write(s); e.err == nil {
		err = o.announce(stdout, info, time.Since(began)) // it fails if nobody reads
	}
	if e.err == nil && err == nil {
		select {
		case e = <-ended:
		case <-s.Done():
			e.err = errors.New("the API server exited unexpectedly")
		}
	}
	remove = o.removes(e)
	if e.why != "" && !o.readyJSON {
		fmt.Fprintf(stdout, "Stopping (%s) ...\n", e.why)
	}
	stopErr := stop(s)
	if errors.Is(stopErr, context.DeadlineExceeded) {
		stopErr = nil // the process exits now, and everything in it
	}
	if e.err != nil {
		return remove, fmt.Errorf("%w%s", errors.Join(e.err, stopErr), log.Text(lastLines))
	}
	return remove, errors.Join(err, stopErr)
}

func stop(s *server.Server) error {
	ctx, cancel := context.WithTimeout(context.Background(), stopGrace)
	defer cancel()
	return s.Stop(ctx)
}

// start starts the server. A reason to stop that comes before it is ready aborts
// the start: start then returns the reason and no server.
func start(o options, temp string, log io.Writer, ended endings) (*server.Server, ending, error) {
	ctx, cancel := context.WithTimeout(context.Background(), o.startTimeout)
	defer cancel()
	type result struct {
		s   *server.Server
		err error
	}
	started := make(chan result, 1)
	dataDir := o.dataDir
	if dataDir == "" {
		dataDir = filepath.Join(temp, wire.DataDir)
	}
	go func() {
		s, err := server.Start(ctx, server.Options{
			DataDir: dataDir, SocketDir: temp, Port: o.port, Flags: o.serverFlags, Log: log,
			Fatal: func() { ended.add(ending{err: errFatal}) },
		})
		started <- result{s, err}
	}()
	select {
	case r := <-started:
		return r.s, ending{}, r.err
	case e := <-ended:
		if e.err != nil {
			return nil, e, e.err // the goroutine with the fatal error hangs
		}
		cancel()
		select {
		case r := <-started:
			if r.s != nil {
				_ = stop(r.s) // the process exits next
			}
		case <-time.After(startGrace): // the process exits next
		}
		return nil, e, nil
	}
}

// readStdin returns when standard input has closed.
func readStdin(stdin io.Reader) ending {
	e := ending{why: "standard input closed"}
	lines := bufio.NewScanner(stdin)
	for lines.Scan() {
		e.keep = strings.TrimSpace(lines.Text()) == wire.Keep
	}
	return e
}

// announce prints that the server is ready.
func (o options) announce(stdout io.Writer, info wire.Ready, took time.Duration) error {
	if o.readyJSON {
		if err := json.NewEncoder(stdout).Encode(info); err != nil {
			return fmt.Errorf("write the ready line: %w", err)
		}
		return nil
	}
	kept := "removed at the end"
	if o.dataDir != "" {
		kept = "kept"
	}
	_, err := fmt.Fprintf(stdout, `Ready after %.1f s: Kubernetes %s at %s

  kubeconfig  %s
  data        %s (%s)
  etcd        unix://%s

Use it:

  export KUBECONFIG=%s
  kubectl get namespaces

or

  kubectl --kubeconfig %s get namespaces

There is no kubelet, scheduler or controller: objects are stored and served, nothing runs.
Ctrl-C ends it.
`, took.Seconds(), info.Version, info.Server, info.Kubeconfig, info.DataDir, kept, info.EtcdSocket, info.Kubeconfig, info.Kubeconfig)
	return err
}
