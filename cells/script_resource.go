// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package cells

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/cilium/hive/script"
	"github.com/spf13/pflag"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/apiary-go/apiary/store"
)

// resourceCommands are commands for what a hive follows.
type resourceCommands struct{ resources *Resources }

func (c resourceCommands) names() (names []string) {
	for _, f := range c.resources.All() {
		names = append(names, f.Name)
	}
	return names
}

// followedColumns are the columns of the status page.
func followedColumns(now time.Time) []column[Followed] {
	return []column[Followed]{
		{"Level", func(f Followed) string { return string(f.Level) }},
		{"Kind", func(f Followed) string { return string(f.Kind) }},
		{"Name", func(f Followed) string { return f.Name }},
		{"Objects", func(f Followed) string { return strconv.Itoa(f.Objects) }},
		{"Since", func(f Followed) string { return age(f.Since, now) }},
		{"Contact", func(f Followed) string { return age(f.Reflector.Contact, now) }},
		{"Status", func(f Followed) string { return f.Status }},
	}
}

func (c resourceCommands) all() script.Cmd {
	return script.Command(
		script.CmdUsage{
			Summary: "Show all resources, mirrors, pushes and status scopes of the hive",
			Flags:   tableFlags,
			Detail: []string{
				"Shows what is not in sync and why, and then a table of all. '--columns' shows only",
				"columns of the table, of: level (unused, starting, ok, degraded, stopped), kind",
				"(resource, mirror, push, status), name, objects, since (the begin of the level),",
				"contact (the last one with the server), status. YAML and JSON have everything that",
				"'resource/show' has.",
				"",
				"> resources --columns=name,level",
				"Name                 Level",
				"Pod.v1               ok",
				"Deployment.v1.apps   unused",
			},
			AutocompleteFlag: completeFormat(formatTable, formatYAML, formatJSON),
		},
		func(s *script.State, args ...string) (script.WaitFunc, error) {
			if err := wantArgs(args); err != nil {
				return nil, err
			}
			all, now := c.resources.All(), time.Now()
			if isTable(s) && !s.Flags.Changed("columns") {
				var b strings.Builder
				if err := writeAll(&b, all, now); err != nil {
					return nil, err
				}
				return printText(s, b.String())
			}
			return writeRows(s, followedColumns(now), append([]Followed{}, all...))
		},
	)
}

func (c resourceCommands) show() script.Cmd {
	return script.Command(
		script.CmdUsage{
			Summary: "Show everything about a resource, a mirror, a push or a status scope",
			Args:    "name",
			Flags: func(fs *pflag.FlagSet) {
				fileFlags(fs, formatTable, formatYAML, formatJSON)
			},
			Detail: []string{
				"Shows the state, the error, lists by reason, subscribers with their failing keys, and",
				"the recent events of the informer. It has no content of objects, only keys.",
			},
			AutocompleteArgs: completeFirst(c.names),
			AutocompleteFlag: completeFormat(formatTable, formatYAML, formatJSON),
		},
		func(s *script.State, args ...string) (script.WaitFunc, error) {
			if err := wantArgs(args, "a name"); err != nil {
				return nil, err
			}
			f, err := c.resources.Get(args[0])
			if err != nil {
				return nil, err
			}
			if !isTable(s) {
				return writeValue(s, f)
			}
			var b strings.Builder
			if err := writeOne(&b, f, time.Now()); err != nil {
				return nil, err
			}
			return printText(s, b.String())
		},
	)
}

// storeFlags are the flags of commands that use the store of a resource.
func storeFlags(fs *pflag.FlagSet) {
	startFlag(fs)
	timeoutFlag(fs, "How long to wait until the resource is synced")
}

func startFlag(fs *pflag.FlagSet) {
	fs.Bool("start", false, "Start the resource if it is unused")
}

// startHelp is help for commands with startFlag.
var startHelp = []string{
	"An unused resource makes no requests, and the command fails. With '--start' the",
	"command uses it: the resource lists and watches until the hive stops, or until it is",
	"stopped because it is not in use (cells.StopUnused).",
}

// enabled returns a resource, mirror, push or scope that is enabled.
func (c resourceCommands) enabled(name string) (*followed, error) {
	f, err := c.resources.find(name)
	if err == nil && f.synced == nil {
		err = fmt.Errorf("%s %s: %s", f.kind, f.name, f.describe().Status)
	}
	return f, err
}

// find returns what enabled does. It fails if a resource is unused, unless --start is given.
func (c resourceCommands) find(s *script.State, name string) (*followed, error) {
	f, err := c.enabled(name)
	if err != nil {
		return nil, err
	}
	if start, _ := s.Flags.GetBool("start"); !start && f.unused() {
		return nil, fmt.Errorf("resource %s is unused: %s (--start starts it)", f.name, f.report.current().status)
	}
	return f, nil
}

// unused reports whether f is a resource that has not made a request.
func (f *followed) unused() bool {
	return f.kind == FollowedResource && f.resource != nil && !f.resource().Wanted
}

// access returns the access to a resource.
func (c resourceCommands) access(s *script.State, name string) (*followed, error) {
	f, err := c.find(s, name)
	switch {
	case err != nil || f.access != nil:
		return f, err
	case f.kind == FollowedStatus:
		return nil, fmt.Errorf("%s is a status scope: the status engine keeps only the fields that its rules read: use status/wait, or k8s/get if the program has it", f.name)
	}
	return nil, fmt.Errorf("%s is a %s: only resources have a store", f.name, f.kind)
}

// objectLine is a line of resource/list.
type objectLine struct {
	Key     string `json:"key"`
	Version string `json:"version"`
}

var objectColumns = []column[objectLine]{
	{"Key", func(l objectLine) string { return l.Key }},
	{"Version", func(l objectLine) string { return l.Version }},
}

func (c resourceCommands) list() script.Cmd {
	return script.Command(
		script.CmdUsage{
			Summary: "List the objects in the store of a resource",
			Args:    "name",
			Flags: func(fs *pflag.FlagSet) {
				tableFlags(fs)
				fs.StringP("namespace", "n", "", "Only objects of this namespace")
				fs.StringP("selector", "l", "", "Only objects with these labels, such as 'app=web'")
				storeFlags(fs)
			},
			Detail: append([]string{
				"Shows the keys and the resource versions, ordered by key. Waits until the resource",
				"is synced. To compare with a file, leave out the versions with '--columns=key'.",
				"",
			}, startHelp...),
			AutocompleteArgs: completeFirst(c.names),
			AutocompleteFlag: completeFormat(formatTable, formatYAML, formatJSON),
		},
		func(s *script.State, args ...string) (script.WaitFunc, error) {
			if err := wantArgs(args, "the name of a resource"); err != nil {
				return nil, err
			}
			matches, err := matcher(s.Flags)
			if err != nil {
				return nil, err
			}
			f, err := c.access(s, args[0])
			if err != nil {
				return nil, err
			}
			ctx, cancel := withTimeout(s)
			defer cancel()
			objects, err := f.access.objects(ctx)
			if err != nil {
				return nil, failure(s, err)
			}
			lines := []objectLine{}
			for key, obj := range objects {
				if matches(obj) {
					lines = append(lines, objectLine{key.String(), versionOf(obj)})
				}
			}
			slices.SortFunc(lines, func(a, b objectLine) int { return strings.Compare(a.Key, b.Key) })
			return writeRows(s, objectColumns, lines)
		},
	)
}

// matcher returns a function for --namespace and --selector.
func matcher(flags *pflag.FlagSet) (func(runtime.Object) bool, error) {
	namespace, _ := flags.GetString("namespace")
	text, _ := flags.GetString("selector")
	selector, err := labels.Parse(text)
	if err != nil {
		return nil, fmt.Errorf("--selector=%s: %w", text, err)
	}
	return func(obj runtime.Object) bool {
		m, err := meta.Accessor(obj)
		return err == nil && (namespace == "" || m.GetNamespace() == namespace) && selector.Matches(labels.Set(m.GetLabels()))
	}, nil
}

func versionOf(obj runtime.Object) string {
	m, err := meta.Accessor(obj)
	if err != nil {
		return ""
	}
	return m.GetResourceVersion()
}

func (c resourceCommands) get() script.Cmd {
	return script.Command(
		script.CmdUsage{
			Summary: "Show an object in the store of a resource",
			Args:    "name key",
			Flags: func(fs *pflag.FlagSet) {
				fileFlags(fs, formatYAML, formatJSON)
				redactedFlag(fs)
				storeFlags(fs)
			},
			Detail: slices.Concat([]string{
				"The key is 'namespace/name', or 'name' if objects have no namespace. Shows the",
				"object as the store has it, so after a transform. Waits until the resource is synced.",
				"",
			}, redactedHelp, []string{""}, startHelp),
			AutocompleteArgs: completeFirst(c.names),
			AutocompleteFlag: completeFormat(formatYAML, formatJSON),
		},
		func(s *script.State, args ...string) (script.WaitFunc, error) {
			if err := wantArgs(args, "the name of a resource", "a key"); err != nil {
				return nil, err
			}
			key, err := store.ParseKey(args[1])
			if err != nil {
				return nil, err
			}
			f, err := c.access(s, args[0])
			if err != nil {
				return nil, err
			}
			ctx, cancel := withTimeout(s)
			defer cancel()
			obj, err := f.access.get(ctx, key)
			if err != nil {
				return nil, failure(s, err)
			}
			if obj == nil {
				return nil, fmt.Errorf("resource %s has no object %s", f.name, key)
			}
			shown, err := showObject(obj, f.gvk, f.secret, s.Flags)
			if err != nil {
				return nil, err
			}
			return writeValue(s, shown)
		},
	)
}

func (c resourceCommands) waitSynced() script.Cmd {
	return script.Command(
		script.CmdUsage{
			Summary: "Wait until resources, mirrors, pushes and status scopes are synced",
			Args:    "[name...]",
			Flags:   storeFlags,
			Detail: append([]string{
				"Without names it waits for all, except unused resources and status scopes. A cell can",
				"begin to use its resource after hive/start: use '--start' in tests. Synced means that",
				"the first list is complete. For mirrors and pushes, the consumer must have taken it.",
				"",
			}, startHelp...),
			AutocompleteArgs: completeAny(c.names),
		},
		func(s *script.State, args ...string) (script.WaitFunc, error) {
			var wanted []*followed
			for _, name := range args {
				f, err := c.find(s, name)
				if err != nil {
					return nil, err
				}
				wanted = append(wanted, f)
			}
			if len(args) == 0 {
				start, _ := s.Flags.GetBool("start")
				for _, f := range c.resources.followed() {
					if f.kind == FollowedStatus {
						continue // the engine can do without one that is forbidden
					}
					if !start && f.unused() {
						s.Logf("%s is unused\n", f.name)
						continue
					}
					wanted = append(wanted, f)
				}
			}
			ctx, cancel := withTimeout(s)
			defer cancel()
			for _, f := range wanted {
				if err := f.waitSynced(ctx); err != nil {
					return nil, failure(s, err)
				}
				s.Logf("%s is synced\n", f.name)
			}
			return nil, nil
		},
	)
}

// waitSynced blocks until f is synced. The error has the status.
func (f *followed) waitSynced(ctx context.Context) error {
	if f.synced != nil {
		err := f.synced(ctx)
		if err == nil || f.resource != nil { // its error has the reason
			return err
		}
		d := f.describe()
		return fmt.Errorf("%s %s is not synced: %s: %w", f.kind, f.name, d.Status, cmp.Or(d.Err, err))
	}
	return fmt.Errorf("%s %s is not synced: %s", f.kind, f.name, f.describe().Status)
}

func (c resourceCommands) resync() script.Cmd {
	return script.Command(
		script.CmdUsage{
			Summary: "Make a resource, a mirror, a push or a status scope list once more",
			Args:    "name",
			Detail: []string{
				"Returns at once. The list gives events only for what has changed. It costs the",
				"server one list. An unused resource is not started: the command fails.",
			},
			Flags:            func(*pflag.FlagSet) {},
			AutocompleteArgs: completeFirst(c.names),
		},
		func(s *script.State, args ...string) (script.WaitFunc, error) {
			if err := wantArgs(args, "a name"); err != nil {
				return nil, err
			}
			f, err := c.find(s, args[0])
			if err != nil {
				return nil, err
			}
			f.resync(errors.New("requested by the command resource/resync"))
			return nil, nil
		},
	)
}
