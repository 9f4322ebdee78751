// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package cells

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/pflag"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/util/flowcontrol"
)

// The flags of [Client].
const (
	flagKubeconfig     = "k8s-kubeconfig"
	flagContext        = "k8s-context"
	flagAPIServer      = "k8s-api-server"
	flagQPS            = "k8s-client-qps"
	flagBurst          = "k8s-client-burst"
	flagRequestTimeout = "k8s-request-timeout"
	flagConnectTimeout = "k8s-connect-timeout"
)

// ClientConfig is the configuration of [Client]. Each field is a flag, and an environment
// variable: the EnvPrefix of hive.Options, then the name of the flag in upper case with
// underscores. A flag on the command line overrides the environment variable.
//
// The address and the credentials come from the first of these:
//
//  1. K8sKubeconfig, if it is set.
//  2. The files that the environment variable KUBECONFIG names, merged as in kubectl.
//  3. The service account of the pod that the program runs in.
//  4. K8sAPIServer alone, without credentials.
//
// If there is none, the client is disabled: see [ClientState].
//
// K8sAPIServer overrides the address of 1 to 3. If it is not https, the service account is
// not used. The file ~/.kube/config is only read if K8sKubeconfig or KUBECONFIG names it.
type ClientConfig struct {
	// K8sKubeconfig is the path of a kubeconfig file. Flag --k8s-kubeconfig.
	K8sKubeconfig string

	// K8sContext is a context of the kubeconfig. Default: its current context. Flag
	// --k8s-context.
	K8sContext string

	// K8sAPIServer is the URL of the API server, or host:port for https. A user and
	// password in the URL are sent as basic authentication, and are not shown in errors
	// and logs. Flag --k8s-api-server.
	K8sAPIServer string

	// K8sClientQPS is the limit of requests per second, for all clients together. 0 or
	// less means no limit. Default: 50. Flag --k8s-client-qps.
	//
	// K8sClientBurst is how many requests can be sent at once. Default: 100. Flag
	// --k8s-client-burst.
	K8sClientQPS   float32
	K8sClientBurst int

	// K8sRequestTimeout is the timeout of a request, up to the end of its response. It
	// does not apply to watches. 0 means no timeout. Default: 1m. Flag
	// --k8s-request-timeout.
	K8sRequestTimeout time.Duration

	// K8sConnectTimeout is the timeout of connecting. 0 means the timeout of the
	// operating system. Default: 10s. Flag --k8s-connect-timeout.
	K8sConnectTimeout time.Duration
}

// DefaultClientConfig has the defaults of the flags of [Client].
var DefaultClientConfig = ClientConfig{
	K8sClientQPS:      50,
	K8sClientBurst:    100,
	K8sRequestTimeout: time.Minute,
	K8sConnectTimeout: 10 * time.Second,
}

// Flags implements cell.Flagger.
func (c ClientConfig) Flags(flags *pflag.FlagSet) { (&clientSource{ClientConfig: c}).register(flags) }

// ErrNotConfigured means that no API server is configured. Errors of disabled clients and
// resources, and [ClientState.Err], wrap it. If a constructor or an invoke function returns
// such an error, errors.Is does not find it in the error of hive.Hive.Start, because
// hive.ErrPopulate wraps nothing. The text of ErrNotConfigured is in it.
var ErrNotConfigured = errors.New("no Kubernetes API server is configured: set --" + flagKubeconfig +
	", --" + flagAPIServer + " or the environment variable KUBECONFIG, or run in a pod")

// errContent reports a flag or a variable that may hold a kubeconfig instead of its path.
// Errors do not show the value.
var errContent = errors.New("the value is not the path of a file, and may be the content of a kubeconfig: write that to a file and give the path")

// Configured reports whether an API server is configured, correctly or not. If it returns
// false, the clients of [Client] are disabled. A program can call it before it makes a
// hive. It reads files and the environment, and makes no request.
func (c ClientConfig) Configured() bool {
	cfg, _, err := c.restConfig()
	return cfg != nil || err != nil
}

// restConfig returns the configuration and its origin, or nil if there is none.
func (c ClientConfig) restConfig() (*rest.Config, string, error) {
	return clientSource{ClientConfig: c}.restConfig()
}

// clientSource finds the configuration of the client of a cluster.
type clientSource struct {
	ClientConfig
	cluster string // empty: that of Client
}

// flag returns the name of a flag for this cluster.
func (c clientSource) flag(name string) string {
	if c.cluster == "" {
		return name
	}
	return c.cluster + "-" + name
}

// register makes flags that set the fields of c.
func (c *clientSource) register(flags *pflag.FlagSet) {
	server, path, address := "the Kubernetes API server", "Path of a kubeconfig file; default: $KUBECONFIG, then the service account of the pod", "the kubeconfig or of the pod"
	if c.cluster != "" {
		server = "the Kubernetes API server of cluster " + c.cluster
		path = fmt.Sprintf("Path of a kubeconfig file for cluster %s; default: $KUBECONFIG, if --%s is set", c.cluster, c.flag(flagContext))
		address = "the kubeconfig"
	}
	flags.StringVar(&c.K8sKubeconfig, c.flag(flagKubeconfig), c.K8sKubeconfig, path)
	flags.StringVar(&c.K8sContext, c.flag(flagContext), c.K8sContext, "Context of the kubeconfig; default: its current context")
	flags.StringVar(&c.K8sAPIServer, c.flag(flagAPIServer), c.K8sAPIServer, "URL of "+server+"; overrides the address in "+address)
	flags.Float32Var(&c.K8sClientQPS, c.flag(flagQPS), c.K8sClientQPS, "Limit of requests per second to "+server+", for all clients together; 0 means no limit")
	flags.IntVar(&c.K8sClientBurst, c.flag(flagBurst), c.K8sClientBurst, "Number of requests to "+server+" that can be sent at once")
	flags.DurationVar(&c.K8sRequestTimeout, c.flag(flagRequestTimeout), c.K8sRequestTimeout, "Timeout of a request to "+server+", except watches; 0 means no timeout")
	flags.DurationVar(&c.K8sConnectTimeout, c.flag(flagConnectTimeout), c.K8sConnectTimeout, "Timeout of connecting to "+server+"; 0 means the timeout of the system")
}

// notConfigured returns the error if there is no configuration.
func (c clientSource) notConfigured() error {
	if c.cluster == "" {
		return ErrNotConfigured
	}
	return &clusterNotConfiguredError{c}
}

// clusterNotConfiguredError is ErrNotConfigured with the flags of a cluster.
type clusterNotConfiguredError struct{ source clientSource }

func (e *clusterNotConfiguredError) Error() string {
	return fmt.Sprintf("no Kubernetes API server is configured for cluster %s: set --%s, --%s, or --%s and the environment variable KUBECONFIG",
		e.source.cluster, e.source.flag(flagKubeconfig), e.source.flag(flagAPIServer), e.source.flag(flagContext))
}

func (e *clusterNotConfiguredError) Unwrap() error { return ErrNotConfigured }

// validate checks what does not depend on files.
func (c clientSource) validate() error {
	var errs []error
	if c.K8sClientQPS > 0 && c.K8sClientBurst < 1 {
		errs = append(errs, fmt.Errorf("--%s=%d: must be at least 1 while --%s is set", c.flag(flagBurst), c.K8sClientBurst, c.flag(flagQPS)))
	}
	if c.K8sRequestTimeout < 0 {
		errs = append(errs, fmt.Errorf("--%s=%s: must not be negative", c.flag(flagRequestTimeout), c.K8sRequestTimeout))
	}
	if c.K8sConnectTimeout < 0 {
		errs = append(errs, fmt.Errorf("--%s=%s: must not be negative", c.flag(flagConnectTimeout), c.K8sConnectTimeout))
	}
	if c.K8sContext != "" && c.K8sKubeconfig == "" && os.Getenv(clientcmd.RecommendedConfigPathEnvVar) == "" {
		errs = append(errs, fmt.Errorf("--%s=%s: no kubeconfig is configured: set --%s as well", c.flag(flagContext), c.K8sContext, c.flag(flagKubeconfig)))
	}
	if c.K8sAPIServer != "" {
		if _, err := serverURL(c.K8sAPIServer, c.flag(flagAPIServer)); err != nil {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// serverURL completes and checks the value of a flag, such as --k8s-api-server.
func serverURL(address, flag string) (string, error) {
	full := address
	if !strings.Contains(full, "://") {
		full = "https://" + full
	}
	u, err := url.Parse(full)
	// The error of url.Parse quotes parts of the address.
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return "", fmt.Errorf("--%s=%s: want a URL such as https://host:6443", flag, withoutUserinfo(address))
	}
	return full, nil
}

// restConfig returns the configuration and its origin, or nil if there is none. It reads
// files and the environment, and makes no request.
func (c clientSource) restConfig() (*rest.Config, string, error) {
	if err := c.validate(); err != nil {
		return nil, "", err
	}
	cfg, origin, err := c.find()
	if cfg == nil || err != nil {
		return nil, "", err
	}
	cfg.UserAgent = rest.DefaultKubernetesUserAgent()
	cfg.QPS, cfg.Burst = c.K8sClientQPS, c.K8sClientBurst
	if cfg.QPS > 0 {
		// One limiter, else each client would get one of its own.
		cfg.RateLimiter = flowcontrol.NewTokenBucketRateLimiter(cfg.QPS, cfg.Burst)
	} else {
		cfg.QPS, cfg.Burst = -1, 0
	}
	cfg.Dial = (&net.Dialer{Timeout: c.K8sConnectTimeout, KeepAlive: 30 * time.Second}).DialContext
	// Not cfg.Timeout: that one would end watches too.
	cfg.Wrap(requestTimeout(c.K8sRequestTimeout, c.flag(flagRequestTimeout)))
	return cfg, origin, nil
}

func (c clientSource) find() (*rest.Config, string, error) {
	server := ""
	if c.K8sAPIServer != "" {
		var err error
		if server, err = serverURL(c.K8sAPIServer, c.flag(flagAPIServer)); err != nil {
			return nil, "", err
		}
	}
	if c.K8sKubeconfig != "" {
		if isContent(c.K8sKubeconfig) {
			return nil, "", fmt.Errorf("--%s: %w", c.flag(flagKubeconfig), errContent)
		}
		origin := "--" + c.flag(flagKubeconfig) + "=" + c.K8sKubeconfig
		rules := &clientcmd.ClientConfigLoadingRules{ExplicitPath: c.K8sKubeconfig}
		cfg, err := c.load(rules, server, origin)
		return cfg, origin, err
	}
	if env := os.Getenv(clientcmd.RecommendedConfigPathEnvVar); env != "" && (c.cluster == "" || c.K8sContext != "") {
		files := filepath.SplitList(env)
		if strings.Contains(env, ": ") || slices.ContainsFunc(files, isContent) {
			return nil, "", fmt.Errorf("%s: %w", clientcmd.RecommendedConfigPathEnvVar, errContent)
		}
		origin := clientcmd.RecommendedConfigPathEnvVar + "=" + env
		if err := anyReadable(files); err != nil {
			return nil, "", fmt.Errorf("kubeconfig of %s: %w", origin, err)
		}
		rules := &clientcmd.ClientConfigLoadingRules{Precedence: files, WarnIfAllMissing: false}
		cfg, err := c.load(rules, server, origin)
		return cfg, origin, err
	}

	inCluster, err := (*rest.Config)(nil), rest.ErrNotInCluster
	if c.cluster == "" {
		inCluster, err = rest.InClusterConfig()
	}
	plain := strings.HasPrefix(server, "http://")
	switch {
	case err == nil && !plain:
		origin := "service account of the pod"
		if server != "" {
			inCluster.Host = server
			origin += " with --" + c.flag(flagAPIServer) + "=" + withoutUserinfo(c.K8sAPIServer)
		}
		return inCluster, origin, nil
	case server != "":
		return &rest.Config{Host: server}, "--" + c.flag(flagAPIServer) + "=" + withoutUserinfo(c.K8sAPIServer), nil
	case errors.Is(err, rest.ErrNotInCluster), errors.Is(err, fs.ErrNotExist):
		// No pod, or one that is to have no service account.
		return nil, "", nil
	default:
		return nil, "", fmt.Errorf("service account of the pod: %w (set --%s to do without)", err, c.flag(flagKubeconfig))
	}
}

func (c clientSource) load(rules *clientcmd.ClientConfigLoadingRules, server, origin string) (*rest.Config, error) {
	loaded, err := rules.Load()
	if err != nil {
		return nil, fmt.Errorf("kubeconfig of %s: %w", origin, unloadable(rules.GetLoadingPrecedence()))
	}
	overrides := &clientcmd.ConfigOverrides{}
	overrides.ClusterInfo.Server = server
	cfg, err := clientcmd.NewNonInteractiveClientConfig(*loaded, c.K8sContext, overrides, nil).ClientConfig()
	if err != nil {
		if clientcmd.IsEmptyConfig(err) {
			err = errors.New("it names no cluster: check that it is a kubeconfig and has a current-context")
		}
		return nil, fmt.Errorf("kubeconfig of %s: %w", origin, unusable(loaded, err))
	}
	return cfg, nil
}

// anyReadable fails if none of the files exists. KUBECONFIG can name missing files next to
// others.
func anyReadable(files []string) error {
	var first error
	for _, file := range files {
		_, err := os.Stat(file)
		if err == nil {
			return nil
		}
		if first == nil {
			first = err
		}
	}
	return first
}
