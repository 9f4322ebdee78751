// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package mirror

import (
	"encoding/binary"
	"encoding/hex"
	"strconv"

	"k8s.io/apimachinery/pkg/types"
)

// versionRecord is what [ResourceVersions] keeps for one key:
//
//	flags      1 byte
//	namespace  its number, a uvarint
//	name       length, a uvarint, and text
//	version    8 bytes, or length and text
//	UID        nothing, 16 bytes, or length and text
//
// Versions and UIDs are numbers if they read as such numbers are written, and
// texts otherwise, so that each comes out as it went in.
type versionRecord []byte

// The flags of a record.
const (
	recordMarked  byte = 1 << iota
	recordGone         // the record is not in use any more
	numberVersion      // the version is a number
	numberUID          // the UID is a number
	textUID            // the UID is a text

	stateFlags = numberVersion | numberUID | textUID
)

func (r versionRecord) has(flag byte) bool { return r[0]&flag != 0 }

// key returns the number of the namespace, the name, and the bytes from the
// version on.
func (r versionRecord) key() (namespace uint32, name, state []byte) {
	id, rest := cutUvarint(r[1:])
	name, state = cutText(rest)
	return uint32(id), name, state
}

// size returns the length of the record, which may be followed by others.
func (r versionRecord) size() int {
	_, _, rest := r.key()
	if r.has(numberVersion) {
		rest = rest[8:]
	} else {
		_, rest = cutText(rest)
	}
	switch r[0] & (numberUID | textUID) {
	case numberUID:
		rest = rest[16:]
	case textUID:
		_, rest = cutText(rest)
	}
	return len(r) - len(rest)
}

// state returns the UID and the version.
func (r versionRecord) state() (uid types.UID, version string) {
	_, _, rest := r.key()
	if r.has(numberVersion) {
		version, rest = strconv.FormatUint(binary.LittleEndian.Uint64(rest), 10), rest[8:]
	} else {
		var text []byte
		text, rest = cutText(rest)
		version = string(text)
	}
	switch r[0] & (numberUID | textUID) {
	case numberUID:
		uid = formatUID([16]byte(rest))
	case textUID:
		text, _ := cutText(rest)
		uid = types.UID(text)
	}
	return uid, version
}

// versionState is a UID and a version in the form that records have them in.
type versionState struct {
	flags       byte
	version     uint64
	versionText string
	uid         [16]byte
	uidText     string
}

func packState(uid types.UID, version string) (s versionState) {
	var number bool
	if s.version, number = parseNumber(version); number {
		s.flags |= numberVersion
	} else {
		s.versionText = version
	}
	if uid == "" {
		return s
	}
	if s.uid, number = parseUID(string(uid)); number {
		s.flags |= numberUID
	} else {
		s.flags |= textUID
		s.uidText = string(uid)
	}
	return s
}

// size returns how many bytes of a record the state takes.
func (s *versionState) size() (n int) {
	if s.flags&numberVersion != 0 {
		n += 8
	} else {
		n += textSize(len(s.versionText))
	}
	switch {
	case s.flags&numberUID != 0:
		n += 16
	case s.flags&textUID != 0:
		n += textSize(len(s.uidText))
	}
	return n
}

// write writes the state to b, which has room for it. The flags of the record
// are the caller's to set.
func (s *versionState) write(b []byte) {
	b = b[:0]
	if s.flags&numberVersion != 0 {
		b = binary.LittleEndian.AppendUint64(b, s.version)
	} else {
		b = appendText(b, s.versionText)
	}
	switch {
	case s.flags&numberUID != 0:
		_ = append(b, s.uid[:]...)
	case s.flags&textUID != 0:
		_ = appendText(b, s.uidText)
	}
}

// is reports whether the state is that of r.
func (s *versionState) is(r versionRecord) bool {
	if r[0]&stateFlags != s.flags {
		return false
	}
	_, _, rest := r.key()
	if s.flags&numberVersion != 0 {
		if binary.LittleEndian.Uint64(rest) != s.version {
			return false
		}
		rest = rest[8:]
	} else {
		var text []byte
		if text, rest = cutText(rest); string(text) != s.versionText {
			return false
		}
	}
	switch {
	case s.flags&numberUID != 0:
		return [16]byte(rest) == s.uid
	case s.flags&textUID != 0:
		text, _ := cutText(rest)
		return string(text) == s.uidText
	}
	return true
}

// keySize returns how many bytes of a record come before the state.
func keySize(namespace uint32, name string) int {
	return 1 + uvarintSize(uint64(namespace)) + textSize(len(name))
}

// writeKey writes the part of a record that comes before the state to b, which
// has room for it.
func writeKey(b []byte, flags byte, namespace uint32, name string) {
	b = append(b[:0], flags)
	b = binary.AppendUvarint(b, uint64(namespace))
	_ = appendText(b, name)
}

func cutUvarint(b []byte) (uint64, []byte) {
	if b[0] < 0x80 {
		return uint64(b[0]), b[1:]
	}
	v, n := binary.Uvarint(b)
	return v, b[n:]
}

func cutText(b []byte) (text, rest []byte) {
	n, b := cutUvarint(b)
	return b[:n], b[n:]
}

func appendText[S string | []byte](b []byte, s S) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

func textSize(n int) int { return uvarintSize(uint64(n)) + n }

func uvarintSize(v uint64) (n int) {
	for n = 1; v >= 0x80; n++ {
		v >>= 7
	}
	return n
}

// parseNumber is the inverse of strconv.FormatUint: it takes nothing that would
// not be formatted like that.
func parseNumber(s string) (n uint64, ok bool) {
	const digits = 19 // any number of so many digits fits
	if s == "" || len(s) > digits || s[0] == '0' && len(s) > 1 {
		return 0, false
	}
	for i := range len(s) {
		digit := s[i] - '0'
		if digit > 9 {
			return 0, false
		}
		n = n*10 + uint64(digit)
	}
	return n, true
}

// parseUID is the inverse of formatUID.
func parseUID(s string) (id [16]byte, ok bool) {
	if len(s) != 36 || s[8] != '-' || s[13] != '-' || s[18] != '-' || s[23] != '-' {
		return id, false
	}
	var wrong byte
	for i, at := range uidDigits {
		high, low := hexDigits[s[at]], hexDigits[s[at+1]]
		wrong |= high | low
		id[i] = high<<4 | low&0xf
	}
	return id, wrong <= 0xf
}

// formatUID returns id as UUIDs are written.
func formatUID(id [16]byte) types.UID {
	b := make([]byte, 36)
	for _, at := range []int{8, 13, 18, 23} {
		b[at] = '-'
	}
	for i, at := range uidDigits {
		hex.Encode(b[at:], id[i:i+1])
	}
	return types.UID(b)
}

// uidDigits is where the digits of each byte of a UUID stand.
var uidDigits = [16]int{0, 2, 4, 6, 9, 11, 14, 16, 19, 21, 24, 26, 28, 30, 32, 34}

// hexDigits has the value of each digit as it is written in a UUID, and 0xff for
// what is none.
var hexDigits = func() (values [256]byte) {
	for c := range values {
		values[c] = 0xff
	}
	for value, c := range []byte("0123456789abcdef") {
		values[c] = byte(value)
	}
	return values
}()
