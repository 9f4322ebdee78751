// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

// Package namespaces fills one store from the objects of several namespaces, with one list
// and one watch for each namespace. It is for programs that have permissions in some
// namespaces only, and for sets of namespaces that change while the program runs.
//
// [Set] is the set. [Reflector] follows it, with an [informer.Reflector] for each namespace.
// Most programs use both through resource.NewInNamespaces or cells.InNamespaces.
package namespaces
