// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package wire

// keyCache makes the names of fields, of which there are few but again and again.
type keyCache [256]string

// maxCachedKey is how long a key may be that is held on to.
const maxCachedKey = 64

// string is key, made by intern if it is not there.
func (k *keyCache) string(key []byte, intern func([]byte) string) string {
	if len(key) > maxCachedKey || len(key) == 0 {
		return makeString(key, intern)
	}
	// All of it would be better spread, but takes longer.
	h := uint32(len(key))*0x9e3779b1 ^ uint32(key[0])*0x85ebca6b ^ uint32(key[len(key)-1])*0xc2b2ae35 ^ uint32(key[len(key)/2])*0x27d4eb2f
	slot := &k[(h>>24^h>>12)%uint32(len(k))]
	if *slot != string(key) {
		*slot = makeString(key, intern)
	}
	return *slot
}

func makeString(text []byte, intern func([]byte) string) string {
	if intern != nil {
		return intern(text)
	}
	return string(text)
}
