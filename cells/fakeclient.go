// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package cells

import (
	"github.com/cilium/hive/cell"

	"github.com/apiary-go/apiary/fakeapi"
)

// FakeClient replaces [Client] in tests. It provides the same clients for an API server in
// memory, and the [fakeapi.Server] itself:
//
//	h := hive.New(
//		cells.FakeClient,
//		cells.Resource[*corev1.Pod](),
//		cell.Invoke(func(api *fakeapi.Server) error { return api.Add(pod) }, …),
//	)
//
// Its watches end when the hive stops. For a server with your objects and kinds, see
// [FakeClientWith]. For several clusters, see [NamedFakeClient].
var FakeClient = FakeClientWith(func() *fakeapi.Server { return fakeapi.New() })

// FakeClientWith is [FakeClient] with a constructor of the *fakeapi.Server. The constructor
// can have parameters that the hive provides.
func FakeClientWith(constructor any) cell.Cell {
	return cell.Module(
		"k8s-fake-client", "Kubernetes clients on an API server in memory",

		cell.Provide(constructor),
		cell.Provide(newFakeClient),
		// If the constructor lacks a dependency, the error names it: the client is optional
		// elsewhere.
		cell.Invoke(func(*fakeapi.Server) {}),
	)
}

func newFakeClient(lc cell.Lifecycle, api *fakeapi.Server) (clientOut, error) {
	lc.Append(clientHook{hook{
		info: "fake client",
		stop: func(cell.HookContext) error {
			api.Disconnect()
			return nil
		},
	}})
	return buildClient(api.Config(), "fake")
}
