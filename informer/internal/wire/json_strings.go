// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package wire

// stringCache makes strings of which there are few but again and again, such as the
// names of fields. As values they are made once, too.
type stringCache struct {
	strings [512]string
	values  [512]any
}

// maxCached is how long a string may be that is held on to.
const maxCached = 40

func slot(text []byte) uint32 {
	// All of it would be better spread, but takes longer.
	h := uint32(len(text))*0x9e3779b1 ^ uint32(text[0])*0x85ebca6b ^ uint32(text[len(text)-1])*0xc2b2ae35 ^ uint32(text[len(text)/2])*0x27d4eb2f
	return (h ^ h>>16) % 512
}

// string is text, made by intern if it is not there.
func (s *stringCache) string(text []byte, intern func([]byte) string) string {
	if len(text) > maxCached || len(text) == 0 {
		return makeString(text, intern)
	}
	known := &s.strings[slot(text)]
	if *known != string(text) {
		*known = makeString(text, intern)
	}
	return *known
}

// value is text as a value.
func (s *stringCache) value(text []byte, intern func([]byte) string) any {
	if len(text) > maxCached || len(text) == 0 {
		return makeString(text, intern)
	}
	known := &s.values[slot(text)]
	if v, ok := (*known).(string); !ok || v != string(text) {
		*known = makeString(text, intern)
	}
	return *known
}

func makeString(text []byte, intern func([]byte) string) string {
	if intern != nil {
		return intern(text)
	}
	return string(text)
}
