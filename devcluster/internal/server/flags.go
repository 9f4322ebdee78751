// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

//go:build !race

package server

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/pflag"
	cliflag "k8s.io/component-base/cli/flag"
	"k8s.io/component-base/cli/globalflag"
	"k8s.io/component-base/logs"
	"k8s.io/kubernetes/cmd/kube-apiserver/app/options"

	"github.com/apiary-go/apiary/devcluster/internal/wire"
)

// ownFlag is a flag of kube-apiserver that devcluster sets.
type ownFlag struct {
	name, value string
	// fixed is the reason why the user must not set it. If it is empty, the user's
	// value overrides devcluster's.
	fixed string
}

func ownFlags(etcdSocket string, port int, c *credentials) []ownFlag {
	const certificates = "devcluster makes the certificates and tokens"
	const loopback = "devcluster listens on loopback only"
	return []ownFlag{
		{"etcd-servers", "unix://" + etcdSocket, "devcluster brings its own etcd"},
		{"secure-port", fmt.Sprint(port), "use --port of devcluster"},
		{"bind-address", "127.0.0.1", loopback},
		{"advertise-address", "127.0.0.1", loopback},
		{"external-hostname", "127.0.0.1", ""},
		{"cert-dir", c.path(""), certificates},
		{"tls-cert-file", c.path(wire.ServerCert), certificates},
		{"tls-private-key-file", c.path(wire.ServerKey), certificates},
		{"client-ca-file", c.path(wire.CACert), certificates},
		{"token-auth-file", c.path(wire.TokenTable), certificates},
		{"service-account-key-file", c.path(wire.AccountPublic), certificates},
		{"service-account-signing-key-file", c.path(wire.AccountKey), certificates},
		{"service-account-issuer", "https://kubernetes.default.svc", ""},
		{"service-cluster-ip-range", "10.0.0.0/24", ""},
		{"authorization-mode", "RBAC", ""},
		{"endpoint-reconciler-type", "none", ""},
		{"allow-privileged", "true", ""},
		// Without it an open watch delays the end of the server.
		{"shutdown-watch-termination-grace-period", "500ms", ""},
		// No controller creates the service accounts of namespaces. With this plugin no
		// pod could be created.
		{"disable-admission-plugins", "ServiceAccount", ""},
	}
}

// parseFlags sets devcluster's own flags and then the user's. The user's override
// devcluster's, unless those are fixed.
func parseFlags(o *options.ServerRunOptions, extra []string, own []ownFlag) error {
	fs := pflag.NewFlagSet("kube-apiserver", pflag.ContinueOnError)
	fs.SetNormalizeFunc(cliflag.WordSepNormalizeFunc)
	named := o.Flags()
	globalflag.AddGlobalFlags(named.FlagSet("global"), "kube-apiserver", logs.SkipLoggingConfigurationFlags())
	for _, set := range named.FlagSets {
		fs.AddFlagSet(set)
	}
	given := givenFlags(extra)
	for _, f := range own {
		if slices.Contains(given, f.name) {
			if f.fixed != "" {
				return fmt.Errorf("flag --%s of kube-apiserver cannot be set: %s", f.name, f.fixed)
			}
			continue
		}
		if f.name == "disable-admission-plugins" && enablesServiceAccount(extra) {
			continue
		}
		if err := fs.Set(f.name, f.value); err != nil {
			return fmt.Errorf("set --%s=%s of kube-apiserver: %w", f.name, f.value, err)
		}
	}
	if err := fs.Parse(extra); err != nil {
		return fmt.Errorf("flags of kube-apiserver: %w", err)
	}
	if fs.NArg() > 0 {
		return fmt.Errorf("flags of kube-apiserver: %q is not a flag; write values as --name=value", fs.Arg(0))
	}
	return nil
}

// givenFlags returns the names of the flags in args, as kube-apiserver spells them.
func givenFlags(args []string) []string {
	var names []string
	for _, arg := range args {
		name, ok := strings.CutPrefix(arg, "--")
		if !ok {
			continue
		}
		name, _, _ = strings.Cut(name, "=")
		names = append(names, strings.ReplaceAll(name, "_", "-"))
	}
	return names
}

// enablesServiceAccount returns true if the user enables the plugin that devcluster
// disables. kube-apiserver fails if a plugin is enabled and disabled.
func enablesServiceAccount(args []string) bool {
	for i, arg := range args {
		if !strings.HasPrefix(arg, "--enable-admission-plugins") {
			continue
		}
		_, value, ok := strings.Cut(arg, "=")
		if !ok && i+1 < len(args) {
			value = args[i+1]
		}
		if slices.Contains(strings.Split(value, ","), "ServiceAccount") {
			return true
		}
	}
	return false
}
