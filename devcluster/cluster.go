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

// Cluster is an API server that runs as a child process, or did and can be
// started again. All its methods may be called from any goroutine, at any time.
//
// Address, certificates, tokens and users stay the same over every restart, so
// clients made before one are good after it.
type Cluster struct {
	config Config
	binary string
	temp   string
	ctx    context.Context // ends when Stop is called
	cancel context.CancelFunc

	// turn is held by the one call that starts or ends the server.
	turn chan struct{}

	// stopped and stopErr belong to whoever holds turn.
	stopped bool
	stopErr error

	mu   sync.Mutex // guards process; held for a moment only
	proc *process

	// Set by Start and never again.
	info  wire.Ready
	admin *rest.Config
	api   *api
}

// Start starts a cluster, and returns when its API server is ready and the
// namespace "default" exists. That takes a few seconds, and minutes if the server
// has to be built first (see [Binary]).
//
// ctx bounds the start only: when it ends later the cluster goes on, until
// [Cluster.Stop]. After an error nothing is left running and nothing temporary
// is left behind. If the server process failed the error wraps an [*ExitError]
// with the last lines of its log.
func Start(ctx context.Context, config Config) (*Cluster, error) {
	config, err := config.withDefaults()
	if err != nil {
		return nil, err
	}
	binary, err := Binary(ctx, config)
	if err != nil {
		return nil, err
	}
	// The server makes the directory: one that dies before it hears signals leaves
	// nothing then.
	temp := filepath.Join(os.TempDir(), "devcluster-"+rand.Text()[:10])
	c := &Cluster{config: config, binary: binary, temp: temp, turn: make(chan struct{}, 1)}
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
		fmt.Errorf("Config.StartTimeout of %s is over: %w", c.config.StartTimeout, context.DeadlineExceeded))
	defer cancel()
	// Stop breaks a start off.
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
		// This side keeps the time, and kills a server that is late.
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

// adopt takes over what the first start settled for good.
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

// Config returns a new client configuration for the administrator, who may do
// everything. It sets no limit on the rate of requests (QPS is -1) and no
// timeout; the caller may change it.
func (c *Cluster) Config() *rest.Config { return rest.CopyConfig(c.admin) }

// Kubeconfig returns the path of the administrator's kubeconfig file. Its mode
// is 0600, in a directory of mode 0700, and it is gone after [Cluster.Stop].
func (c *Cluster) Kubeconfig() string { return c.info.Kubeconfig }

// URL returns the address of the API server, for example
// "https://127.0.0.1:38211".
func (c *Cluster) URL() string { return c.info.Server }

// CAData returns the certificate, in PEM form, of the authority that signed the
// server's certificate.
func (c *Cluster) CAData() []byte { return append([]byte(nil), c.admin.CAData...) }

// Token returns the administrator's bearer token.
func (c *Cluster) Token() string { return c.admin.BearerToken }

// Version returns the version of Kubernetes that the server is, for example
// "v1.37.2".
func (c *Cluster) Version() string { return c.info.Version }

// EtcdEndpoint returns the address of etcd, a Unix socket that only this user
// can reach, for example "unix:///tmp/devcluster-123/etcd.sock". It speaks
// etcd's gRPC, and etcd's JSON gateway.
func (c *Cluster) EtcdEndpoint() string { return "unix://" + c.info.EtcdSocket }

// PID returns the process id of the server that runs, or ran last. It is also
// the id of its process group.
func (c *Cluster) PID() int { return c.process().cmd.Process.Pid }

// Exited returns a channel that is closed when the server that runs now, or ran
// last, has ended for whatever reason. A restart makes a new server and so a new
// channel. [Cluster.Err] then tells what happened.
func (c *Cluster) Exited() <-chan struct{} { return c.process().done }

// Err returns nil while the server runs, and when it was ended by a method of
// Cluster. If it ended by itself, or was ended from outside, Err returns an
// [*ExitError] with the last lines of its log.
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

// running returns nil if the server runs, and otherwise an error that says why
// it does not.
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

// take waits for the turn to start or end the server.
func (c *Cluster) take(ctx context.Context) error {
	select {
	case c.turn <- struct{}{}:
	case <-ctx.Done():
		return fmt.Errorf("devcluster: wait for another call to end: %w", context.Cause(ctx))
	}
	if c.ctx.Err() != nil {
		<-c.turn
		return ErrStopped
	}
	return nil
}

// Halt ends the server gracefully and keeps its data, so that [Cluster.Restart]
// brings the same cluster back. It returns when the process has ended, after
// about a second; one that is not ready to end within 5 seconds, or when ctx ends,
// is killed, and the error says so. Halting what does not run does nothing.
func (c *Cluster) Halt(ctx context.Context) error {
	if err := c.take(ctx); err != nil {
		return err
	}
	defer func() { <-c.turn }()
	c.api.client.CloseIdleConnections()
	if err := c.process().end(ctx, true); err != nil {
		return fmt.Errorf("devcluster: halt: %w", err)
	}
	return nil
}

// Kill kills the server's process group with SIGKILL, as a crash would, and
// returns when the process has ended, at once. Its data stay, and
// [Cluster.Restart] brings the same cluster back. Killing what does not run does
// nothing. A Restart that is in progress goes on.
func (c *Cluster) Kill() error {
	c.api.client.CloseIdleConnections()
	if err := c.process().kill(); err != nil {
		return fmt.Errorf("devcluster: kill: %w", err)
	}
	return nil
}

// Restart ends the server gracefully if it runs, starts it again on the same
// data and at the same address with the same certificates, tokens, users and
// flags, and returns when it is ready. Open watches end. Watches and lists from a
// resource version of before the restart get the answer "Expired" (410).
//
// ctx bounds the whole call. After an error the server does not run, its data
// are still there, and Restart may be called again. A server that was ended by a
// signal from outside, other than SIGKILL, has removed what is temporary: then
// Restart returns an error.
func (c *Cluster) Restart(ctx context.Context) error {
	if err := c.take(ctx); err != nil {
		return err
	}
	defer func() { <-c.turn }()
	c.api.client.CloseIdleConnections()
	// One that had to be killed has ended too, and that is all that is needed.
	_ = c.process().end(ctx, true)
	if _, err := os.Lstat(c.temp); err != nil {
		return fmt.Errorf("devcluster: restart: the server was ended from outside and removed what is temporary; start a new cluster: %w", err)
	}
	if err := c.begin(ctx); err != nil {
		return fmt.Errorf("devcluster: restart: %w", err)
	}
	return nil
}

// Stop ends the server gracefully and removes everything temporary: the
// kubeconfig files, and the data unless Config.Dir was given. It returns when the
// process has ended and been waited for, within 3 seconds; one that has not ended
// after 5 seconds, or when ctx ends, is killed, and the error says so. No goroutine
// of the cluster is left. Further calls return what the first one returned.
//
// Stop must be called to free the cluster's resources. A process that ends
// without having called it leaves nothing either: the server sees that and ends
// too, and removes what is temporary.
func (c *Cluster) Stop(ctx context.Context) error {
	c.cancel()
	// Whoever has the turn is broken off by the cancel, and soon gives it up.
	c.turn <- struct{}{}
	defer func() { <-c.turn }()
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
		return fmt.Errorf("remove what is temporary: %w", err)
	}
	return nil
}

func (c *Cluster) pkiFile(name string) string {
	return filepath.Join(c.info.DataDir, wire.PKIDir, name)
}
