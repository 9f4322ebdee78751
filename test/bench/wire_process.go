// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"
)

// wireLoad is the collection of a server: its objects, of which the first ones change in
// each round.
type wireLoad struct {
	Form                     string
	Objects, Changes, Rounds int
}

// wireHost is the process of a server.
type wireHost struct {
	*child
	wireLoad
	profiles string
	address  string

	reading sync.WaitGroup
	follows chan struct{} // one for each watch that has received everything
}

// startWireHost starts a server. It returns when everything is encoded.
func startWireHost(l wireLoad) (*wireHost, error) {
	c, err := startChild(commandServeWire, "-form", l.Form, "-objects", strconv.Itoa(l.Objects),
		"-changes", strconv.Itoa(l.Changes), "-rounds", strconv.Itoa(l.Rounds))
	if err != nil {
		return nil, err
	}
	address, err := c.address()
	if err != nil {
		return nil, err
	}
	h := &wireHost{
		child: c, wireLoad: l, address: address, follows: make(chan struct{}, 1000),
	}
	h.reading.Go(func() {
		for {
			if _, err := h.stdout.ReadString('\n'); err != nil {
				return
			}
			h.follows <- struct{}{}
		}
	})
	return h, nil
}

func (h *wireHost) stop(err error) error {
	_ = h.stdin.Close()
	h.reading.Wait() // before Wait closes stdout
	return h.child.stop(err)
}

// followed waits until one more watch has received everything.
func (h *wireHost) followed() error {
	select {
	case <-h.follows:
		return nil
	case <-time.After(time.Minute):
		return errors.New("no watch was opened within a minute")
	}
}

// wireRun is the process of a contestant, and the server that it reads.
type wireRun struct {
	*child
	host *wireHost
}

// with runs a contestant in its own process, calls do for its steps, and checks the stored
// objects at the end.
func (h *wireHost) with(contestant string, subscribers int, do func(*wireRun) error) error {
	for len(h.follows) > 0 {
		<-h.follows // of earlier contestants
	}
	c, err := startChild(commandReadWire)
	if err != nil {
		return err
	}
	task, err := json.Marshal(wireTask{
		wireLoad: h.wireLoad, Contestant: contestant, Address: h.address, Subscribers: subscribers, Profiles: h.profiles,
	})
	if err == nil {
		err = c.writeLine(string(task))
	}
	run := &wireRun{child: c, host: h}
	if err == nil {
		_, err = run.step(stepBegin)
	}
	if err == nil {
		err = do(run)
	}
	if err == nil {
		_, err = run.step(stepCheck)
	}
	return c.stop(err)
}

// step makes the process carry out a step.
func (r *wireRun) step(what string) (result wireResult, err error) {
	if err := r.writeLine(what); err != nil {
		return result, err
	}
	line, err := r.stdout.ReadBytes('\n')
	if err != nil {
		return result, fmt.Errorf("%s: no answer to %q: %w", commandReadWire, what, err)
	}
	if err := json.Unmarshal(line, &result); err != nil {
		return result, err
	}
	if result.Error != "" {
		return result, errors.New(result.Error)
	}
	return result, nil
}

// sync makes the process read everything.
func (r *wireRun) sync() (synced, retained wireResult, err error) {
	if synced, err = r.step(stepSync); err != nil {
		return synced, retained, err
	}
	if err := r.host.followed(); err != nil {
		return synced, retained, err
	}
	retained, err = r.step(stepRetained)
	return synced, retained, err
}

// change sends all changes, one round after the other. Each round waits for all
// subscribers, so that nothing can be merged. It returns the sum of all rounds.
func (r *wireRun) change() (all wireResult, err error) {
	for range r.host.Rounds {
		if _, err := r.step(stepReady); err != nil {
			return all, err
		}
		if err := r.host.writeLine(serverChange); err != nil {
			return all, err
		}
		round, err := r.step(stepChanged)
		if err != nil {
			return all, err
		}
		all.CPU += round.CPU
		all.Allocated += round.Allocated
	}
	return all, nil
}

// relist makes the process read everything again.
func (r *wireRun) relist() (wireResult, error) {
	if r, err := r.step(stepRelist); err != nil {
		return r, err
	}
	if err := r.host.writeLine(serverExpire); err != nil {
		return wireResult{}, err
	}
	if err := r.host.followed(); err != nil {
		return wireResult{}, err
	}
	return r.step(stepRelisted)
}
