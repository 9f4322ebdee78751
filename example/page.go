// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package main

import (
	"io"
	"net"

	"github.com/cilium/hive/cell"

	"github.com/apiary-go/apiary/cells"
)

// statusPage serves a page about the resources, and notes its address at the start.
func statusPage(notes io.Writer) cell.Cell {
	return cell.Group(
		cells.StatusServerWith(cells.StatusServerConfig{StatusAddress: "127.0.0.1:0"}),
		cell.Invoke(func(lc cell.Lifecycle, page *cells.StatusAddress) {
			lc.Append(cell.Hook{OnStart: func(cell.HookContext) error {
				if address, ok := page.Address().(*net.TCPAddr); ok {
					say(notes, "The status page is at http://%s/", address)
				}
				return nil
			}})
		}),
	)
}
