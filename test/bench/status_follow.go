// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"k8s.io/client-go/rest"
)

// statusTask is the task of a process: follow Deployments until all are reported as
// Current, then while nothing changes, and then until the changed ones are reported as
// Failed.
type statusTask struct {
	Contestant string
	Server     server
	Owners     int
	Changes    int
	Idle       time.Duration
}

// server is the address of an API server, and the credentials.
type server struct {
	Host      string
	Token     string
	CA        []byte
	Cert, Key []byte
}

func serverOf(c *rest.Config) server {
	return server{Host: c.Host, Token: c.BearerToken, CA: c.CAData, Cert: c.CertData, Key: c.KeyData}
}

func (s server) config() *rest.Config {
	return &rest.Config{
		Host: s.Host, BearerToken: s.Token, QPS: -1,
		TLSClientConfig: rest.TLSClientConfig{CAData: s.CA, CertData: s.Cert, KeyData: s.Key},
	}
}

// statusSpan is the cost of a part of a task.
type statusSpan struct {
	Millis, CPU float64 // CPU in milliseconds
	Requests    int64   // without watches
}

// statusResult is the cost of a task.
type statusResult struct {
	Known, Idle, Changed statusSpan
	Retained, PeakRSS    int64
}

// countingTransport counts requests without watches.
type countingTransport struct {
	next  http.RoundTripper
	count *atomic.Int64
}

// WrappedRoundTripper returns the wrapped transport, for apimachinery.
func (c countingTransport) WrappedRoundTripper() http.RoundTripper { return c.next }

func (c countingTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	if !strings.Contains(r.URL.RawQuery, "watch=true") {
		c.count.Add(1)
	}
	return c.next.RoundTrip(r)
}

// followStatuses is the process of a contestant. It reads the task from stdin, and writes
// the result to stdout. It prints "now" when changes can be made.
func followStatuses(_ []string, stdin io.Reader, stdout, _ io.Writer) error {
	in := bufio.NewReader(stdin)
	line, err := in.ReadBytes('\n')
	if err != nil {
		return err
	}
	var t statusTask
	if err := json.Unmarshal(line, &t); err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(context.Background())
	defer cancel(nil)
	go func() { // ends with the process that started this one
		_, _ = io.Copy(io.Discard, in)
		cancel(errors.New("stdin is closed"))
	}()
	result, err := t.do(ctx, func() { fmt.Fprintln(stdout, "now") })
	if err != nil {
		return err
	}
	return json.NewEncoder(stdout).Encode(result)
}

// do carries out the task. It calls ready when changes can be made.
func (t statusTask) do(ctx context.Context, ready func()) (statusResult, error) {
	var (
		result   statusResult
		requests atomic.Int64
		begun    = time.Now()
		before   = heap()
		start    = cpuTime()
		counted  int64
	)
	span := func() statusSpan {
		s := statusSpan{
			Millis: millis(time.Since(begun)), CPU: millis(cpuTime() - start), Requests: requests.Load() - counted,
		}
		begun, start, counted = time.Now(), cpuTime(), requests.Load()
		return s
	}
	follow, ok := statusContestants[t.Contestant]
	if !ok {
		return result, fmt.Errorf("no contestant %q", t.Contestant)
	}
	config := t.Server.config()
	config.Wrap(func(next http.RoundTripper) http.RoundTripper { return countingTransport{next, &requests} })
	ctx, cancel := context.WithCancelCause(ctx)
	statuses := make(chan deploymentStatus, t.Owners)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if err := follow(ctx, config, t.Owners, statuses); err != nil {
			cancel(err)
		}
	}()
	defer func() { cancel(nil); <-ended }()
	until := func(status string, owners int) error {
		seen := map[string]bool{}
		for len(seen) < owners {
			select {
			case s := <-statuses:
				if s.status == status {
					seen[s.name] = true
				}
			case <-ctx.Done():
				return fmt.Errorf("%d of %d are %s: %w", len(seen), owners, status, context.Cause(ctx))
			}
		}
		return nil
	}
	if err := until("Current", t.Owners); err != nil {
		return result, err
	}
	result.Known = span()
	result.Retained = heap() - before
	span()
	time.Sleep(t.Idle)
	result.Idle = span()
	ready()
	if err := until("Failed", t.Changes); err != nil {
		return result, err
	}
	result.Changed = span()
	result.PeakRSS = peakRSS()
	return result, nil
}

// statusFollower is the process of a contestant.
type statusFollower struct{ *child }

func startStatusFollower(t statusTask) (*statusFollower, error) {
	c, err := startChild(commandStatus)
	if err != nil {
		return nil, err
	}
	if err := json.NewEncoder(c.stdin).Encode(t); err != nil {
		return nil, c.stop(err)
	}
	return &statusFollower{c}, nil
}

// follow calls change when the process is ready.
func (f *statusFollower) follow(change func() error) (result statusResult, err error) {
	defer func() { err = f.stop(err) }()
	if _, err := f.stdout.ReadString('\n'); err != nil {
		return result, fmt.Errorf("%s is not ready: %w", commandStatus, err)
	}
	if err := change(); err != nil {
		return result, err
	}
	return result, json.NewDecoder(f.stdout).Decode(&result)
}
