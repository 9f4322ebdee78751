// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package wire

import "errors"

func readJSONList(*reader, Limits, func(ListMeta) error, func(*Object) error) (ListMeta, error) {
	return ListMeta{}, errors.ErrUnsupported
}

func (r *reader) nextJSON(Limits, *Event) error { return errors.ErrUnsupported }
