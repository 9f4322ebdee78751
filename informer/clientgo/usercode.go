// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package clientgo

import (
	"github.com/apiary-go/apiary/internal/usercode"
	"github.com/apiary-go/apiary/store"
)

// processOnce calls Process. A panic of it is an error.
func (c *Controller[T]) processOnce(item any, isInInitialList bool) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = usercode.Error("Process", keyOf(item), v)
		}
	}()
	return c.cfg.Process(item, isInInitialList)
}

// shouldResync calls ShouldResync, if it is set.
func (c *Controller[T]) shouldResync() bool {
	should := c.cfg.ShouldResync == nil
	if !should {
		_ = c.panics.Call("ShouldResync", "", store.Key{}, func() { should = c.cfg.ShouldResync() })
	}
	return should
}

// report calls the error handler.
func (c *Controller[T]) report(err error) {
	_ = c.panics.Call("ErrorHandler", "", store.Key{}, func() { c.cfg.ErrorHandler(err) })
}
