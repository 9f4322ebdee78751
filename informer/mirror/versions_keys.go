// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package mirror

import (
	"hash/maphash"
	"maps"
	"math/bits"
	"slices"
	"strings"

	"github.com/apiary-go/apiary/store"
)

// versionKeys knows the keys of records. It numbers the namespaces, so that each
// is kept once; a number is given anew after the last record that has it.
type versionKeys struct {
	seed maphash.Seed

	namespaces []namespace // by number
	numbers    map[string]uint32
	free       []uint32 // numbers that no namespace has
	most       int      // of namespaces at once, since the last trim
}

type namespace struct {
	name    string
	hash    uint64
	records int
}

// hash returns the hash of key. It stays the same whatever happens to the
// numbers.
func (k *versionKeys) hash(key store.Key) uint64 {
	return mix(maphash.String(k.seed, key.Name), maphash.String(k.seed, key.Namespace))
}

// hashOf returns the hash of the key of r.
func (k *versionKeys) hashOf(r versionRecord) uint64 {
	namespace, name, _ := r.key()
	return mix(maphash.Bytes(k.seed, name), k.namespaces[namespace].hash)
}

// mix makes one hash of two, such that those of keys spread which share a name
// or have the name of their namespace.
func mix(name, namespace uint64) uint64 {
	high, low := bits.Mul64(name^0x9e37_79b9_7f4a_7c15, namespace^0xd1b5_4a32_d192_ed03)
	return high ^ low
}

// is reports whether key is that of r.
func (k *versionKeys) is(r versionRecord, key store.Key) bool {
	namespace, name, _ := r.key()
	return string(name) == key.Name && k.namespaces[namespace].name == key.Namespace
}

func (k *versionKeys) namespaceOf(r versionRecord) string {
	namespace, _, _ := r.key()
	return k.namespaces[namespace].name
}

// number returns the number of a namespace for one more record.
func (k *versionKeys) number(name string) uint32 {
	id, ok := k.numbers[name]
	if !ok {
		name = strings.Clone(name) // which may be a part of something large
		if last := len(k.free) - 1; last >= 0 {
			id, k.free = k.free[last], k.free[:last]
		} else {
			id = uint32(len(k.namespaces))
			k.namespaces = append(k.namespaces, namespace{})
		}
		k.namespaces[id] = namespace{name: name, hash: maphash.String(k.seed, name)}
		if k.numbers == nil {
			k.numbers = map[string]uint32{}
		}
		k.numbers[name] = id
		k.most = max(k.most, len(k.numbers))
	}
	k.namespaces[id].records++
	return id
}

// release says that there is one record less with the number.
func (k *versionKeys) release(id uint32) {
	ns := &k.namespaces[id]
	if ns.records--; ns.records > 0 {
		return
	}
	delete(k.numbers, ns.name)
	*ns = namespace{}
	k.free = append(k.free, id)
	if len(k.numbers) == 0 || k.most >= 16 && len(k.numbers) <= k.most/4 {
		k.trim()
	}
}

// trim gives up the memory for namespaces that are gone.
func (k *versionKeys) trim() {
	numbers := make(map[string]uint32, len(k.numbers))
	maps.Copy(numbers, k.numbers)
	k.numbers, k.most = numbers, len(numbers)

	end := len(k.namespaces)
	for end > 0 && k.namespaces[end-1].records == 0 {
		end--
	}
	k.namespaces = slices.Clone(k.namespaces[:end])
	k.free = nil
	for id, ns := range slices.Backward(k.namespaces) {
		if ns.records == 0 {
			k.free = append(k.free, uint32(id))
		}
	}
}
