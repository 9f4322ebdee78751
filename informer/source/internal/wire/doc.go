// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

// Package wire reads what an API server sends, one object at a time: the bodies of
// lists and watches, in protobuf and in JSON. No buffer grows with a collection: what
// is held is one object, as bytes.
//
// A [List] or a [Watch] cuts the body into objects and says which they are; a Decoder
// for the type makes objects of the bytes, for those who want them.
//
// What is read is not trusted. Bodies that are cut off, lengths that lie, and whatever
// else makes no sense are errors, which say where in the body it is; and so are
// objects larger than the limit. None makes anything allocate more than the limit and
// what an object of that size takes.
package wire
