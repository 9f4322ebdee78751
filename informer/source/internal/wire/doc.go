// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

// Package wire reads the bodies of lists and watches of an API server, in protobuf and in
// JSON. It is for package source.
//
//	list, err := wire.ReadList(body, wire.DefaultLimits, about, func(o *wire.Object) error {
//		if holds(o) { // o has the name, namespace, UID, version and kind
//			return nil
//		}
//		return decoder.Decode(o, obj) // a ProtoDecoder; JSON needs a JSONDecoder
//	})
//
// [ReadList] and [Watch] cut a body into objects and identify them. A decoder for the type
// decodes the bytes of an object, if its caller needs the object. No buffer grows with a
// collection: only the bytes of one object are in memory.
//
// The input is not trusted. Truncated bodies, wrong lengths, invalid input and objects beyond
// the limit are errors that name the place in the body. None of them allocates more than the
// limit and what an object of that size takes.
package wire
