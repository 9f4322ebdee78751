// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package wire

// stringCache makes strings of which there are few but again and again, such as the
// names of fields. As values they are made once, too.
type stringCache [512]any

// maxCached is how long a string may be that is held on to.
const maxCached = 40

// slot is where text may be, nil if it is too long.
func (s *stringCache) slot(text []byte) *any {
	if len(text) > maxCached || len(text) == 0 {
		return nil
	}
	// All of it would be better spread, but takes longer.
	h := uint32(len(text))*0x9e3779b1 ^ uint32(text[0])*0x85ebca6b ^ uint32(text[len(text)-1])*0xc2b2ae35 ^ uint32(text[len(text)/2])*0x27d4eb2f
	return &s[(h^h>>16)%uint32(len(s))]
}

// string is text, made by intern if it is not there.
func (s *stringCache) string(text []byte, intern func([]byte) string) string {
	slot := s.slot(text)
	if slot == nil {
		return makeString(text, intern)
	}
	if known, ok := (*slot).(string); ok && known == string(text) {
		return known
	}
	made := makeString(text, intern)
	*slot = made
	return made
}

// value is text as a value.
func (s *stringCache) value(text []byte, intern func([]byte) string) any {
	slot := s.slot(text)
	if slot == nil {
		return makeString(text, intern)
	}
	if known, ok := (*slot).(string); !ok || known != string(text) {
		*slot = makeString(text, intern)
	}
	return *slot
}

func makeString(text []byte, intern func([]byte) string) string {
	if intern != nil {
		return intern(text)
	}
	return string(text)
}
