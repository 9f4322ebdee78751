// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package wire

// table has places for things, by their hash, a power of two of them. Each place has what
// was put there last. It grows up to a size.
type table[T any] struct {
	at   []T
	most int // places
	puts int // since it grew
}

func newTable[T any](first, most int) table[T] {
	return table[T]{at: make([]T, min(first, most)), most: most}
}

// place is where a thing of a hash is if it is anywhere, until the table grows.
func (t *table[T]) place(hash uint64) *T { return &t.at[hash&uint64(len(t.at)-1)] }

// put puts a thing where place is. With many of them the table grows.
func (t *table[T]) put(hash uint64, thing T) {
	if t.puts++; t.puts > len(t.at)/4 {
		t.grow()
	}
	*t.place(hash) = thing
}

// grow doubles the places, if there may be more. Of the two places that a thing may have
// then, it is at both.
func (t *table[T]) grow() {
	n := len(t.at)
	if n >= t.most {
		return
	}
	double := make([]T, 2*n)
	copy(double, t.at)
	copy(double[n:], t.at)
	t.at, t.puts = double, 0
}

// marks are parts of hashes, none of which is zero. They grow up to a size of at most 1<<16
// places; then new ones are put in the place of others.
type marks struct {
	at    []uint32
	most  int // places
	count int // places that are taken
}

func newMarks(first, most int) marks {
	return marks{at: make([]uint32, min(first, most)), most: most}
}

// probes is how many places there are for a mark.
const probes = 4

// note notes a mark. It reports whether it was there.
func (m *marks) note(mark uint32) bool {
	// The place is of the mark itself, so it can be found again for more places.
	first, mask := int(mark>>16), len(m.at)-1
	for i := range probes {
		switch at := &m.at[(first+i)&mask]; *at {
		case mark:
			return true
		case 0:
			*at = mark
			if m.count++; m.count > len(m.at)/4 && len(m.at) < m.most {
				m.grow()
			}
			return false
		}
	}
	m.at[(first+int(mark>>1)%probes)&mask] = mark
	return false
}

func (m *marks) grow() {
	old := m.at
	m.at, m.count = make([]uint32, 2*len(old)), 0
	for _, mark := range old {
		if mark != 0 {
			m.note(mark)
		}
	}
}
