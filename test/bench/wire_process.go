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

// wireLoad is what a server serves: so many objects, of which the first ones change in
// each of some rounds.
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
	follows chan struct{} // one for each that has everything and watches
}

// startWireHost returns when everything is encoded.
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
	h.reading.Wait() // before Wait closes what is read
	return h.child.stop(err)
}

// followed waits until one more has everything and watches.
func (h *wireHost) followed() error {
	select {
	case <-h.follows:
		return nil
	case <-time.After(time.Minute):
		return errors.New("nobody has come to watch for a minute")
	}
}

// wireRun is a contestant's process, and what it reads.
type wireRun struct {
	*child
	host *wireHost
}

// with runs a contestant in a process of its own while do tells it what to do. What is
// stored in the end is checked.
func (h *wireHost) with(contestant string, subscribers int, do func(*wireRun) error) error {
	for len(h.follows) > 0 {
		<-h.follows // of those who were here before
	}
	c, err := startChild(commandReadWire)
	if err != nil {
		return err
	}
	task, err := json.Marshal(wireTask{
		wireLoad: h.wireLoad, Contestant: contestant, Address: h.address, Subscribers: subscribers, Profiles: h.profiles,
	})
	if err == nil {
		err = c.tell(string(task))
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

// step has the process do something.
func (r *wireRun) step(what string) (result wireResult, err error) {
	if err := r.tell(what); err != nil {
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

// sync has the process get everything.
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

// change has all changes be told to all subscribers, a round after the other, so that
// nothing can be merged. It returns what all rounds took.
func (r *wireRun) change() (all wireResult, err error) {
	for range r.host.Rounds {
		if _, err := r.step(stepReady); err != nil {
			return all, err
		}
		if err := r.host.tell(tellChange); err != nil {
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

// relist has everything be read again.
func (r *wireRun) relist() (wireResult, error) {
	if r, err := r.step(stepRelist); err != nil {
		return r, err
	}
	if err := r.host.tell(tellExpire); err != nil {
		return wireResult{}, err
	}
	if err := r.host.followed(); err != nil {
		return wireResult{}, err
	}
	return r.step(stepRelisted)
}
