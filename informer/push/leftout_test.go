// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package push_test

import (
	"context"
	"strings"
	"testing"

	"github.com/apiary-go/apiary/informer"
	"github.com/apiary-go/apiary/informer/internal/informertest"
	"github.com/apiary-go/apiary/informer/push"
	"github.com/apiary-go/apiary/store"
)

// keepingConsumer keeps objects that cannot be decoded.
type keepingConsumer struct{ *scriptedConsumer }

func (c keepingConsumer) SnapshotKeep(ctx context.Context, _ push.SnapshotInfo, meta store.Meta) error {
	return c.call(ctx, "keep "+informertest.StateOf(meta))
}

// An object that cannot be decoded, as when its version ends in 7, is left out of batches and
// snapshots. Snapshots say that the consumer keeps what it has of the object.
func TestLeftOut(t *testing.T) {
	const script = `
list rv=100 a@1 x@1 y@97
watch
  after 1s
  ~x@107
  +b@108
  after 1s
  error 410
list rv=120 a@1 x@107 y@97
watch
  after 1s
  ~x@121
  after 1s
  error 410
list rv=130 @5 a@1
watch
  after 1s
  -x@127
  ~a@131
stop 10s`
	keeps := func(cfg *push.BatcherConfig[informertest.Object]) {
		cfg.Transform = informertest.NoSevens
		cfg.Consumer = keepingConsumer{cfg.Consumer.(*scriptedConsumer)}
	}
	p := playBatches(t, script, keeps)
	p.want(t, "begin 1 first", "keep y@97", "page a@1 x@1", "end 100", "batch +b@108 to 108",
		"begin 2 expired", "keep x@107", "keep y@97", "page a@1", "end 120", "batch ~x@121 to 121",
		"begin 3 expired", "keep @", "page a@1", "end 130", "batch -x@121 ~a@131 to 131")
	if p.stats.Accepted != 1 {
		t.Errorf("%d are accepted", p.stats.Accepted)
	}

	// A consumer that cannot keep them gets no snapshot that lacks what it has.
	p = playBatches(t, script[:strings.Index(script, "watch\n  after 1s\n  ~x@121")]+"stop 10s",
		func(cfg *push.BatcherConfig[informertest.Object]) { cfg.Transform = informertest.NoSevens })
	p.want(t, "begin 1 first", "page a@1 x@1", "end 100", "batch +b@108 to 108", "begin 2 expired", "abort 2", "begin 3 expired", "abort 3")
	if info := p.stats.Reflector; info.Passes != 1 || info.Cause != informer.CauseDecoding {
		t.Errorf("%+v", info)
	}
}
