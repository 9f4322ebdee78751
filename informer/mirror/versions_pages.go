// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package mirror

import "iter"

// versionPages holds records one after the other. It grows by a page at a time,
// so that nothing is copied and little is in stock. A record stays where it is;
// one that is dropped leaves a hole, until the records are moved to other pages.
type versionPages struct {
	list  [][]byte
	bytes int // of all records
	holes int // those of them that belong to dropped records
}

const (
	// A page has room for 1<<pageBits bytes at most. A record that needs more
	// has a page of just its size.
	pageBits = 12
	pageSize = 1 << pageBits

	// minPage is the size of the first pages. Others are as large as half of
	// what there is by then, so that few records take little.
	minPage = 256

	// placeBits is how many bits a place has, and maxPages how many pages an
	// owner should use at most: far fewer than a place can address.
	placeBits = 24
	maxPages  = 1 << (placeBits - pageBits) / 4
)

// place says where a record is.
type place uint32

func (p *versionPages) at(at place) versionRecord {
	return p.list[at>>pageBits][at&(pageSize-1):]
}

// add returns room for a record. Pages are taken out of spare first.
func (p *versionPages) add(size int, spare *[][]byte) (place, versionRecord) {
	p.bytes += size
	last := len(p.list) - 1
	if last < 0 || len(p.list[last])+size > cap(p.list[last]) {
		p.list = append(p.list, p.page(size, spare))
		last++
	}
	start := len(p.list[last])
	p.list[last] = p.list[last][:start+size]
	return place(last<<pageBits | start), p.list[last][start:]
}

// page returns an empty page for a record of size.
func (p *versionPages) page(size int, spare *[][]byte) []byte {
	want := max(size, min(max(p.bytes/2, minPage), pageSize))
	if want == pageSize && len(*spare) > 0 {
		last := len(*spare) - 1
		page := (*spare)[last]
		*spare = (*spare)[:last]
		return page[:0]
	}
	return make([]byte, 0, want)
}

// drop makes a hole of r.
func (p *versionPages) drop(r versionRecord) {
	r[0] |= recordGone
	p.holes += r.size()
}

// all yields the records.
func (p *versionPages) all() iter.Seq2[place, versionRecord] {
	return func(yield func(place, versionRecord) bool) {
		for i := range p.list {
			for start, r := range p.on(i) {
				if !yield(place(i<<pageBits|start), r) {
					return
				}
			}
		}
	}
}

// on yields the records on page i, each with where it starts.
func (p *versionPages) on(i int) iter.Seq2[int, versionRecord] {
	return func(yield func(int, versionRecord) bool) {
		page := p.list[i]
		for start := 0; start < len(page); {
			r := versionRecord(page[start:])
			r = r[:r.size()]
			if !r.has(recordGone) && !yield(start, r) {
				return
			}
			start += len(r)
		}
	}
}

// drain yields the records and gives up each page when it is through, to spare
// if it may be used again.
func (p *versionPages) drain(spare *[][]byte) iter.Seq[versionRecord] {
	return func(yield func(versionRecord) bool) {
		for i := range p.list {
			for _, r := range p.on(i) {
				if !yield(r) {
					return
				}
			}
			if cap(p.list[i]) == pageSize {
				*spare = append(*spare, p.list[i])
			}
			p.list[i] = nil
		}
	}
}
