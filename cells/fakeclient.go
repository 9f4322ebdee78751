// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package cells

import (
	"github.com/cilium/hive/cell"

	"github.com/apiary-go/apiary/fakeapi"
)

// FakeClient takes the place of [Client] in tests. It provides the same, on a
// [fakeapi.Server] in memory, which it provides as well:
//
//	h := hive.New(
//		cells.FakeClient,
//		cells.Resource[*corev1.Pod](),
//		cell.Invoke(func(api *fakeapi.Server) error { return api.Add(pod) }, …),
//	)
//
// See [FakeClientWith] for one with objects and kinds of your own. When the hive
// stops, the watches end.
var FakeClient = FakeClientWith(func() *fakeapi.Server { return fakeapi.New() })

// FakeClientWith is [FakeClient] on a server that a constructor makes, which may
// depend on what is in the hive.
func FakeClientWith(constructor any) cell.Cell {
	return cell.Module(
		"k8s-fake-client", "Kubernetes clients on an API server in memory",

		cell.Provide(constructor),
		cell.Provide(newFakeClient),
	)
}

func newFakeClient(lc cell.Lifecycle, api *fakeapi.Server) (clientOut, error) {
	lc.Append(cell.Hook{OnStop: func(cell.HookContext) error {
		api.Disconnect()
		return nil
	}})
	return buildClient(api.Config(), "fake")
}
