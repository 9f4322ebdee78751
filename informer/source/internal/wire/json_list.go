// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package wire

import (
	"errors"
	"fmt"
	"io"
	"strings"
)

// jsonList is a list that is being read.
type jsonList struct {
	*reader
	limits Limits
	about  func(ListMeta) error // nil once it was called
	yield  func(*Object) error

	ListMeta
	items  bool   // whether there were any
	status []byte // members that a Status has, each behind a comma
}

// readJSONList reads a list as it comes. Its members may be in any order. A list
// without items is one only if its kind says so.
func readJSONList(r *reader, limits Limits, about func(ListMeta) error, yield func(*Object) error) (ListMeta, error) {
	l := &jsonList{reader: r, limits: limits, about: about, yield: yield, ListMeta: ListMeta{Remaining: -1, NoItems: true}}
	err := l.read()
	return l.ListMeta, err
}

func (l *jsonList) read() error {
	if err := l.each('{', '}', l.member); err != nil {
		return err
	}
	return l.end()
}

// each goes over an object or an array. It calls read for each member or element.
func (l *jsonList) each(open, end byte, read func() error) error {
	err := l.expect(open)
	var c byte
	if err == nil {
		c, err = l.peek()
	}
	for more := err == nil && c != end; more && err == nil; {
		if err := read(); err != nil {
			return err
		}
		more, err = l.more(end)
	}
	if err == nil {
		err = l.expect(end)
	}
	return l.fail(err)
}

// more goes over a comma. It returns false if end, which it leaves, is next instead.
func (l *jsonList) more(end byte) (bool, error) {
	c, err := l.peek()
	if err != nil || c == end {
		return false, err
	}
	return true, l.expect(',')
}

// end is behind the last brace.
func (l *jsonList) end() error {
	switch c, err := l.peek(); {
	case err == nil:
		return l.fail(fmt.Errorf("%s behind the end of the list", seen(c)))
	case err != io.EOF:
		return l.fail(err)
	}
	if !l.items && l.Kind == statusKind {
		return l.fail(l.asStatus())
	}
	if !l.items && !strings.HasSuffix(l.Kind, "List") {
		return l.fail(fmt.Errorf("something of kind %q that has no items", l.Kind))
	}
	return l.callAbout()
}

// callAbout calls about, once.
func (l *jsonList) callAbout() error {
	if about := l.about; about != nil {
		l.about = nil
		return about(l.ListMeta)
	}
	return nil
}

// member reads a member.
func (l *jsonList) member() error {
	c, err := l.peek()
	if err == nil && c != '"' {
		err = unwanted(c)
	}
	if err != nil {
		return l.fail(err)
	}
	text, err := l.value(l.limits.Object, &scanner{depth: l.limits.Depth})
	if err != nil {
		return l.fail(err)
	}
	name := string(unquote(text[1 : len(text)-1]))
	if err := l.expect(':'); err != nil {
		return l.fail(err)
	}
	switch name {
	case "apiVersion":
		return l.text(&l.APIVersion)
	case "kind":
		return l.text(&l.Kind)
	case "metadata":
		return l.small(func(c *cursor) error { return c.listMeta(&l.ListMeta) })
	case "items":
		return l.readItems()
	}
	if !l.items && isStatusMember(name) {
		return l.keepStatus(name)
	}
	return l.fail(l.leap(l.limits.Depth))
}

// text reads a string or a null.
func (l *jsonList) text(to *string) error {
	return l.small(func(c *cursor) (err error) {
		*to, err = c.string("")
		return err
	})
}

// small reads a value that is no collection.
func (l *jsonList) small(read func(*cursor) error) error {
	_, err := l.peek()
	start := l.offset
	var raw []byte
	if err == nil {
		raw, err = l.value(l.limits.Object, &scanner{depth: l.limits.Depth})
	}
	if err == nil {
		err = within(start, read(&cursor{data: raw, depth: l.limits.Depth}))
	}
	return l.fail(err)
}

// readItems reads the items. No items are a null, too.
func (l *jsonList) readItems() error {
	if l.items {
		return l.fail(errors.New("items for the second time"))
	}
	l.NoItems = false
	switch c, err := l.peek(); {
	case err != nil:
		return l.fail(err)
	case c == 'n':
		return l.fail(l.leap(l.limits.Depth))
	}
	l.items = true
	o := new(Object)
	return l.each('[', ']', func() error { return l.item(o) })
}

// item reads an item.
func (l *jsonList) item(o *Object) error {
	_, err := l.peek()
	start := l.offset
	s := scanner{depth: l.limits.Depth, lenient: true}
	if err == nil {
		o.Raw, err = l.value(l.limits.readable(), &s)
	}
	if err != nil {
		return l.fail(err)
	}
	o.identify(&s, l.limits, start)
	if err := l.callAbout(); err != nil {
		return err
	}
	return l.yield(o)
}
