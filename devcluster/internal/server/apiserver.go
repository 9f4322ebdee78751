// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

//go:build !race

package server

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime/debug"
	"strconv"
	"time"

	"google.golang.org/grpc/grpclog"
	apimachineryversion "k8s.io/apimachinery/pkg/version"
	"k8s.io/client-go/rest"
	"k8s.io/component-base/compatibility"
	"k8s.io/klog/v2"
	"k8s.io/kubernetes/cmd/kube-apiserver/app"
	"k8s.io/kubernetes/cmd/kube-apiserver/app/options"
)

// kubernetesModule is the module whose version is the version of the server.
const kubernetesModule = "k8s.io/kubernetes"

// Version returns the version of the API server, for example "v1.37.2".
func Version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	for _, m := range info.Deps {
		if m.Path == kubernetesModule {
			if m.Replace != nil {
				return m.Replace.Version
			}
			return m.Version
		}
	}
	return "unknown"
}

// versioned makes /version return the version of the module. The release scripts of
// Kubernetes set it with linker flags, which go install does not have.
type versioned struct {
	compatibility.ComponentGlobalsRegistry
}

func (v versioned) EffectiveVersionFor(component string) compatibility.EffectiveVersion {
	inner := v.ComponentGlobalsRegistry.EffectiveVersionFor(component)
	if inner == nil {
		return nil
	}
	return effectiveVersion{inner}
}

type effectiveVersion struct{ compatibility.EffectiveVersion }

func (e effectiveVersion) Info() *apimachineryversion.Info {
	info := e.EffectiveVersion.Info()
	if info != nil {
		info.GitVersion = Version()
		info.GitCommit = ""
		info.GitTreeState = ""
	}
	return info
}

// routeLogs writes Kubernetes's log, which is global to the process, to w. A fatal
// error calls die, which must not return, instead of ending the process.
func routeLogs(w io.Writer, die func()) {
	klog.OsExit = func(int) { die() }
	fs := flag.NewFlagSet("klog", flag.ContinueOnError)
	klog.InitFlags(fs)
	for name, value := range map[string]string{
		"logtostderr": "false", "alsologtostderr": "false", "stderrthreshold": "FATAL", "one_output": "true",
	} {
		_ = fs.Set(name, value) // these flags and values exist
	}
	klog.SetOutput(w)
	// Short-lived connections to etcd are not worth a log line.
	grpclog.SetLoggerV2(grpclog.NewLoggerV2(io.Discard, io.Discard, io.Discard))
	rest.SetDefaultWarningHandler(rest.NoWarnings{}) // the server's own clients
}

// setVerbosity applies kube-apiserver's flag -v.
func setVerbosity(level int) {
	fs := flag.NewFlagSet("klog", flag.ContinueOnError)
	klog.InitFlags(fs)
	_ = fs.Set("v", strconv.Itoa(level))
}

// apiServerOptions turns flags into checked options of kube-apiserver.
func apiServerOptions(ctx context.Context, extra []string, etcdSocket string, l net.Listener, port int, c *credentials) (options.CompletedOptions, error) {
	none := options.CompletedOptions{}
	o := options.NewServerRunOptions()
	if err := parseFlags(o, extra, ownFlags(etcdSocket, port, c)); err != nil {
		return none, err
	}
	setVerbosity(int(o.Logs.Verbosity))
	registry := o.GenericServerRunOptions.ComponentGlobalsRegistry
	if err := registry.Set(); err != nil {
		return none, fmt.Errorf("set the feature gates and versions of kube-apiserver: %w", err)
	}
	o.GenericServerRunOptions.ComponentGlobalsRegistry = versioned{registry}
	o.SecureServing.Listener = l
	completed, err := o.Complete(ctx)
	if err != nil {
		return none, fmt.Errorf("complete the flags of kube-apiserver: %w", err)
	}
	if errs := completed.Validate(); len(errs) > 0 {
		return none, fmt.Errorf("validate the flags of kube-apiserver: %w", errors.Join(errs...))
	}
	return completed, nil
}

// runAPIServer runs until ctx ends. It returns a panic as an error, so that etcd is
// closed properly and the cause is reported.
func runAPIServer(ctx context.Context, o options.CompletedOptions) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("kube-apiserver panicked: %v\n%s", p, debug.Stack())
		}
	}()
	if err := app.Run(ctx, o); err != nil {
		return fmt.Errorf("kube-apiserver exited: %w", err)
	}
	return nil
}

// waitReady polls until the server is ready and the namespace "default" exists. The
// ready checks do not wait for this namespace.
func (s *Server) waitReady(ctx context.Context) error {
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(s.creds.ca.CertPEM)
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport, Timeout: 5 * time.Second}
	tick := time.NewTicker(25 * time.Millisecond)
	defer tick.Stop()
	for _, path := range []string{"/readyz", "/api/v1/namespaces/default"} {
		for {
			last := s.get(ctx, client, path)
			if last == nil {
				break
			}
			select {
			case <-tick.C:
			case <-s.done:
				return errors.Join(errors.New("kube-apiserver exited before it was ready"), s.err)
			case <-ctx.Done():
				return fmt.Errorf("kube-apiserver was not ready in time (%w); its last response: %w", context.Cause(ctx), last)
			}
		}
	}
	return nil
}

func (s *Server) get(ctx context.Context, client *http.Client, path string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, s.info.Server+path, nil)
	if err != nil {
		return err
	}
	request.Header.Set("Authorization", "Bearer "+s.creds.token)
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	body, err := io.ReadAll(io.LimitReader(response.Body, 4096))
	err = errors.Join(err, response.Body.Close())
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("GET %s: %s: %s", path, response.Status, body)
	}
	return err
}
