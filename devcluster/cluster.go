// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package devcluster

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/apiary-go/apiary/devcluster/internal/wire"
)

// Cluster is an API server in a child process, running or stopped. All methods can
// be called from any goroutine, at any time.
//
// Address, certificates, tokens and users stay the same across restarts. Clients
// created before a restart work after it.
type Cluster struct {
	config Config
	binary string
	temp   string
	ctx    context.Context // ends when Stop is called
	cancel context.CancelFunc

	// lifecycle is held by the one call that starts or stops the server.
	lifecycle chan struct{}

	// stopped and stopErr are guarded by lifecycle.
	stopped bool
	stopErr error

	mu   sync.Mutex // guards process; held for a moment only
	proc *process

	// Set by Start and constant afterwards.
	info  wire.Ready
	admin *rest.Config
	api   *api
}

// Start starts a cluster, and returns when its API server is ready and the
// namespace "default" exists. That takes a few seconds, or minutes if the server
// must be built first (see [Binary]).
//
// ctx bounds the start only. A running cluster outlives it, until [Cluster.Stop].
// If Start returns an error, no process is left running and no temporary file is
// left behind. If the server process failed, the error wraps an [*ExitError] with
// the last lines of its log.
func Start(ctx context.Context, config Config) (*Cluster, error) {
	config, err := config.withDefaults()
	if err != nil {
		return nil, err
	}
	binary, err := Binary(ctx, config)
	if err != nil {
		return nil, err
	}
	// The server makes the directory. A server that dies before it handles signals
	// then leaves nothing.
	temp := filepath.Join(os.TempDir(), "devcluster-"+rand.Text()[:10])
	c := &Cluster{config: config, binary: binary, temp: temp, lifecycle: make(chan struct{}, 1)}
	c.ctx, c.cancel = context.WithCancel(context.Background())
	if err := c.begin(ctx); err != nil {
		c.cancel()
		return nil, errors.Join(fmt.Errorf("devcluster: start: %w", err), c.removeTemp())
	}
	return c, nil
}

// begin starts the server and waits until it is ready.
func (c *Cluster) begin(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, c.config.StartTimeout,
		fmt.Errorf("Config.StartTimeout of %s has passed: %w", c.config.StartTimeout, context.DeadlineExceeded))
	defer cancel()
	// Stop aborts a start.
	ctx, stopped := context.WithCancelCause(ctx)
	defer stopped(nil)
	defer context.AfterFunc(c.ctx, func() { stopped(ErrStopped) })()

	p, err := startProcess(c.binary, c.arguments(), c.config.Log)
	if err != nil {
		return err
	}
	info, err := p.waitReady(ctx)
	if err == nil && c.admin == nil {
		err = c.adopt(info)
	}
	if err != nil {
		return errors.Join(err, p.kill())
	}
	c.mu.Lock()
	c.proc = p
	c.mu.Unlock()
	return nil
}

func (c *Cluster) arguments() []string {
	args := []string{
		"--ready-json", "--exit-on-stdin-close", "--log-file=-",
		"--temp-dir=" + c.temp,
		// The parent enforces StartTimeout: it kills a server that is late.
		"--start-timeout=" + (c.config.StartTimeout + time.Minute).String(),
	}
	if c.config.Dir != "" {
		args = append(args, "--data-dir="+c.config.Dir)
	}
	if c.config.Port != 0 {
		args = append(args, fmt.Sprintf("--port=%d", c.config.Port))
	}
	return append(append(args, "--"), c.config.Flags...)
}

// adopt stores the addresses and credentials of the first start. They never change.
func (c *Cluster) adopt(info wire.Ready) error {
	admin, err := clientcmd.BuildConfigFromFlags("", info.Kubeconfig)
	if err != nil {
		return fmt.Errorf("read the kubeconfig: %w", err)
	}
	client, err := newAPI(admin)
	if err != nil {
		return err
	}
	admin.QPS = -1
	c.info, c.admin, c.api = info, admin, client
	return nil
}

// Config returns a new client configuration for the administrator, who has all
// rights. It has no rate limit (QPS is -1) and no timeout. The caller can modify it.
func (c *Cluster) Config() *rest.Config { return rest.CopyConfig(c.admin) }

// Kubeconfig returns the path of the administrator's kubeconfig file. The file has
// mode 0600, in a directory of mode 0700. [Cluster.Stop] removes it.
func (c *Cluster) Kubeconfig() string { return c.info.Kubeconfig }

// URL returns the address of the API server, for example
// "https://127.0.0.1:38211".
func (c *Cluster) URL() string { return c.info.Server }

// CAData returns the certificate, in PEM form, of the authority that signed the
// server's certificate.
func (c *Cluster) CAData() []byte { return append([]byte(nil), c.admin.CAData...) }

// Token returns the administrator's bearer token.
func (c *Cluster) Token() string { return c.admin.BearerToken }

// Version returns the Kubernetes version of the server, for example "v1.37.2".
func (c *Cluster) Version() string { return c.info.Version }

// EtcdEndpoint returns the address of etcd, for example
// "unix:///tmp/devcluster-123/etcd.sock". The Unix socket is accessible to the
// current user only. It serves etcd's gRPC API and its JSON gateway.
func (c *Cluster) EtcdEndpoint() string { return "unix://" + c.info.EtcdSocket }

// PID returns the process id of the running server, or of the last one. It is also
// the id of its process group.
func (c *Cluster) PID() int { return c.process().cmd.Process.Pid }

// Exited returns a channel that is closed when the running server, or the last
// one, has exited for any reason. [Cluster.Err] then returns the reason. A restart
// starts a new server, which has a new channel.
func (c *Cluster) Exited() <-chan struct{} { return c.process().done }

// Err returns nil while the server runs, and after a method of Cluster has stopped
// it. If the server exited by itself, or was killed from outside, Err returns an
// error that wraps an [*ExitError] with the last lines of its log.
func (c *Cluster) Err() error {
	p := c.process()
	select {
	case <-p.done:
	default:
		return nil
	}
	if p.asked.Load() {
		return nil
	}
	return fmt.Errorf("devcluster: %w", p.exitError())
}

func (c *Cluster) process() *process {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.proc
}

// running returns nil if the server runs, and otherwise the reason why it does not.
func (c *Cluster) running() error {
	if c.ctx.Err() != nil {
		return ErrStopped
	}
	select {
	case <-c.process().done:
		return errors.Join(ErrNotRunning, c.Err())
	default:
		return nil
	}
}

// lockLifecycle waits until no other call starts or stops the server.
func (c *Cluster) lockLifecycle(ctx context.Context) error {
	select {
	case c.lifecycle <- struct{}{}:
	case <-ctx.Done():
		return fmt.Errorf("devcluster: wait for another call that starts or stops the server: %w", context.Cause(ctx))
	}
	if c.ctx.Err() != nil {
		<-c.lifecycle
		return ErrStopped
	}
	return nil
}

// Halt stops the server gracefully and keeps its data for [Cluster.Restart]. It
// returns when the process has exited, after about a second. If the process has
// not exited after 5 seconds, or when ctx ends, Halt kills it and returns an error.
// It does nothing if the server does not run.
func (c *Cluster) Halt(ctx context.Context) error {
	if err := c.lockLifecycle(ctx); err != nil {
		return err
	}
	defer func() { <-c.lifecycle }()
	c.api.client.CloseIdleConnections()
	if err := c.process().end(ctx, true); err != nil {
		return fmt.Errorf("devcluster: halt: %w", err)
	}
	return nil
}

// Kill simulates a crash: it kills the server's process group with SIGKILL, and
// returns when the process has exited, which is immediate. Data are kept for
// [Cluster.Restart]. It does nothing if the server does not run. It does not stop a
// Restart that is in progress.
func (c *Cluster) Kill() error {
	c.api.client.CloseIdleConnections()
	if err := c.process().kill(); err != nil {
		return fmt.Errorf("devcluster: kill: %w", err)
	}
	return nil
}

// Restart stops the server gracefully if it runs, and starts it again with the same
// data, address, certificates, tokens, users and flags. It returns when the server
// is ready. Open watches end. Lists and watches from a resource version before the
// restart get "Expired" (410).
//
// ctx bounds the whole call. After an error the server does not run and its data
// are kept, so Restart can be called again. A signal from outside, except SIGKILL,
// makes the server remove its temporary files; after it, Restart returns an error.
func (c *Cluster) Restart(ctx context.Context) error {
	if err := c.lockLifecycle(ctx); err != nil {
		return err
	}
	defer func() { <-c.lifecycle }()
	c.api.client.CloseIdleConnections()
	// A server that had to be killed has exited as well.
	_ = c.process().end(ctx, true)
	if _, err := os.Lstat(c.temp); err != nil {
		return fmt.Errorf("devcluster: restart: the server was ended from outside and removed its temporary files; start a new cluster: %w", err)
	}
	if err := c.begin(ctx); err != nil {
		return fmt.Errorf("devcluster: restart: %w", err)
	}
	return nil
}

// Stop stops the server gracefully and removes the temporary files: the kubeconfig
// files, and the data unless Config.Dir is set. It returns when the process has
// exited, normally within 3 seconds, and no goroutine of the cluster is left. If
// the process has not exited after 5 seconds, or when ctx ends, Stop kills it and
// returns an error. Further calls return the result of the first.
//
// Stop must be called to release the cluster's resources. If the program exits
// without calling it, the server exits too and removes its temporary files.
func (c *Cluster) Stop(ctx context.Context) error {
	c.cancel()
	// The cancel aborts the call that holds lifecycle.
	c.lifecycle <- struct{}{}
	defer func() { <-c.lifecycle }()
	if c.stopped {
		return c.stopErr
	}
	c.stopped = true
	c.api.client.CloseIdleConnections()
	err := errors.Join(c.process().end(ctx, false), c.removeTemp())
	if err != nil {
		c.stopErr = fmt.Errorf("devcluster: stop: %w", err)
	}
	return c.stopErr
}

func (c *Cluster) removeTemp() error {
	if err := os.RemoveAll(c.temp); err != nil {
		return fmt.Errorf("remove the temporary directory: %w", err)
	}
	return nil
}

func (c *Cluster) pkiFile(name string) string {
	return filepath.Join(c.info.DataDir, wire.PKIDir, name)
}
