// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package cells

import (
	"fmt"
	"slices"
	"strings"

	"github.com/cilium/hive/script"
	"github.com/spf13/pflag"
	"k8s.io/apimachinery/pkg/api/meta"

	"github.com/apiary-go/apiary/status"
)

// statusLine is a line of status/wait.
type statusLine struct {
	Object  string        `json:"object"`
	Status  status.Status `json:"status"`
	Message string        `json:"message,omitempty"`
}

var statusColumns = []column[statusLine]{
	{"Object", func(l statusLine) string { return l.Object }},
	{"Status", func(l statusLine) string { return string(l.Status) }},
	{"Message", func(l statusLine) string { return l.Message }},
}

// waitable are the statuses that a wait can be for.
var waitable = []status.Status{status.Current, status.NotFound, status.InProgress, status.Failed, status.Terminating}

func statusWaitCommand(engine *status.Engine, mapper meta.ResettableRESTMapper) script.Cmd {
	return script.Command(
		script.CmdUsage{
			Summary: "Wait until objects have a status",
			Args:    "kind/[namespace/]name...",
			Flags: func(fs *pflag.FlagSet) {
				tableFlags(fs)
				fs.String("for", string(status.Current), "The status: "+strings.Join(names(waitable), ", "))
				timeoutFlag(fs, "How long to wait")
			},
			Detail: []string{
				"Waits with the status engine of the hive, which watches the objects, until all have",
				"the status at once. Then it shows the statuses. NotFound waits for a deletion.",
				"",
				"> status/wait deployments.apps/shop/web namespaces/shop",
				"Object                     Status    Message",
				"Namespace shop             Current   …",
				"Deployment.apps shop/web   Current   …",
			},
			AutocompleteFlag: func(s *script.State, args []string, flag, current string) []string {
				if flag == "for" {
					return names(waitable)
				}
				return completeFormat(formatTable, formatYAML, formatJSON)(s, args, flag, current)
			},
		},
		func(s *script.State, args ...string) (script.WaitFunc, error) {
			if len(args) == 0 {
				return nil, fmt.Errorf("%w: want objects, such as pods/shop/web", script.ErrUsage)
			}
			name, _ := s.Flags.GetString("for")
			i := slices.IndexFunc(waitable, func(s status.Status) bool { return strings.EqualFold(string(s), name) })
			if i < 0 {
				return nil, fmt.Errorf("--for=%s: want one of %s", name, strings.Join(names(waitable), ", "))
			}
			ctx, cancel := withTimeout(s)
			defer cancel()
			var ids []status.ID
			for _, arg := range args {
				id, err := parseID(mapper, arg)
				if err != nil {
					return nil, err
				}
				ids = append(ids, id)
			}
			statuses, err := engine.Wait(ctx, ids, status.All(waitable[i]))
			if err != nil {
				return nil, failure(s, err)
			}
			lines := []statusLine{}
			for _, s := range statuses {
				lines = append(lines, statusLine{s.ID.String(), s.Status, s.Message})
			}
			return writeRows(s, statusColumns, lines)
		},
	)
}

func names(statuses []status.Status) (names []string) {
	for _, s := range statuses {
		names = append(names, string(s))
	}
	return names
}

// parseID parses "pods/shop/web" or "namespaces/shop".
func parseID(mapper meta.ResettableRESTMapper, text string) (status.ID, error) {
	kind, key, _ := strings.Cut(text, "/")
	namespace, name, found := strings.Cut(key, "/")
	if !found {
		namespace, name = "", key
	}
	if kind == "" || name == "" {
		return status.ID{}, fmt.Errorf("%q: want kind/namespace/name, such as pods/shop/web, or kind/name", text)
	}
	mapping, err := findKind(mapper, kind)
	if err != nil {
		return status.ID{}, err
	}
	if mapping.Scope.Name() == meta.RESTScopeNameNamespace && namespace == "" {
		namespace = defaultNamespace
	}
	return status.ID{GroupKind: mapping.GroupVersionKind.GroupKind(), Namespace: namespace, Name: name}, nil
}
