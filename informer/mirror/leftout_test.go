// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package mirror_test

import (
	"testing"

	"github.com/apiary-go/apiary/informer/internal/informertest"
	"github.com/apiary-go/apiary/informer/mirror"
)

// What is recorded of an object stays while the object cannot be decoded, whatever a list
// lacks: versions end in 7 then. A deletion needs no state.
func TestLeftOut(t *testing.T) {
	noSevens := func(cfg *mirror.InformerConfig[informertest.Object]) { cfg.Transform = informertest.NoSevens }
	p := playMirror(t, `
seed x@1 gone@1
list rv=100 x@97 y@7 a@1
watch
  after 1s
  ~x@107
  +b@108
  error 410
list rv=120 a@2 x@107 b@117
watch
  after 1s
  ~x@121
  -b@127
  ~a@137
stop 5s`, noSevens)
	p.want(t, "add a@1 (initial)", "delete gone@1 (initial)", "add b@108", "update a@2 was a@1", "update x@121 was x@1", "delete b@108")
	p.wantRecorded(t, "a@2", "x@121")
	if left := p.stats.Reflector.LeftOut; p.stats.Failures != 0 || len(left) != 1 || left[0].Meta.Version != "137" {
		t.Errorf("%+v", p.stats)
	}

	// Pending changes stay as well: the handler is slow.
	p = playMirror(t, `
list rv=100 a@1 x@1
watch
  after 1s
  ~x@102
  error 410
list rv=120 a@1 x@107
watch
handler slow 3s update x
stop 10s`, noSevens)
	p.want(t, "add a@1 (initial)", "add x@1 (initial)", "update x@102 was x@1")
	p.wantRecorded(t, "a@1", "x@102")

	// Where nobody knows which object it is, nothing is deleted.
	p = playMirror(t, `
seed x@1 y@1
list rv=100 @5 a@1
watch
  after 1s
  error 410
list rv=120 a@1 y@1
watch
stop 5s`, noSevens)
	p.want(t, "add a@1 (initial)", "delete x@1")
	p.wantRecorded(t, "a@1", "y@1")

	// An object of another UID is another object.
	p = playMirror(t, `
seed x#u@1 y#u@1
list rv=100 x#v@7 y#u@7 a@1
watch
stop 5s`, noSevens)
	p.want(t, "delete x#u@1 (initial)", "add a@1 (initial)")
	p.wantRecorded(t, "a@1", "y@1")
}
