// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package poller_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/apiary-go/apiary/store"
	"github.com/apiary-go/apiary/store/poller"
)

// A certificate is an object that no API server has.
type certificate struct {
	Host    string
	Expires int
}

// The states that a function returns are polled into a store, which reports the changes.
func ExamplePoller() {
	certificates, err := store.New(store.Config[certificate]{
		OnChange: func(c store.Change[certificate]) { fmt.Println(c.Kind, c.Meta.Key) },
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	states := [][]certificate{
		{{"a.example", 2030}, {"b.example", 2031}},
		{{"a.example", 2030}, {"b.example", 2041}},
		{{"b.example", 2041}},
	}
	ctx, stop := context.WithCancelCause(context.Background())
	poller, err := poller.New(poller.Config[certificate]{
		Name:   "certificates",
		Sink:   certificates,
		Key:    func(c certificate) (store.Key, error) { return store.Key{Name: c.Host}, nil },
		Period: time.Millisecond,
		Get: func(context.Context) (poller.Enumerator[certificate], error) {
			if len(states) == 0 {
				stop(errors.New("seen enough"))
				return poller.Enumerator[certificate]{}, errors.New("there is no further state")
			}
			state := states[0]
			states = states[1:]
			return poller.Enumerate("", state), nil
		},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(poller.Run(ctx))
	// Output:
	// added a.example
	// added b.example
	// updated b.example
	// deleted a.example
	// seen enough
}
