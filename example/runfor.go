// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package main

import (
	"fmt"
	"time"

	"github.com/cilium/hive"
	"github.com/cilium/hive/cell"
	"github.com/spf13/pflag"
)

// runForCell ends the application after a time.
var runForCell = cell.Module(
	"run-for", "Ends the application after the time of --run-for",

	cell.Config(runForConfig{}),
	cell.Invoke(registerRunFor),
)

type runForConfig struct {
	RunFor time.Duration
}

// Flags implements cell.Flagger.
func (c runForConfig) Flags(flags *pflag.FlagSet) {
	flags.Duration("run-for", c.RunFor, "End this long after the start; 0: run until Ctrl-C")
}

func (c runForConfig) validate() error {
	if c.RunFor < 0 {
		return fmt.Errorf("--run-for=%s: must not be negative", c.RunFor)
	}
	return nil
}

func registerRunFor(lc cell.Lifecycle, cfg runForConfig, shutdowner hive.Shutdowner) error {
	if err := cfg.validate(); err != nil || cfg.RunFor == 0 {
		return err
	}
	var timer *time.Timer
	lc.Append(cell.Hook{
		OnStart: func(cell.HookContext) error {
			timer = time.AfterFunc(cfg.RunFor, func() { shutdowner.Shutdown() })
			return nil
		},
		OnStop: func(cell.HookContext) error {
			timer.Stop()
			return nil
		},
	})
	return nil
}
