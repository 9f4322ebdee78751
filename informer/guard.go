// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package informer

import (
	"context"
	"net"
	"net/http/httptrace"
	"sync"
	"sync/atomic"
	"time"
)

// guard is the idle timeout of a request. The time of the sink does not count: the owner of
// the request calls [guard.busy] before the sink and [guard.waiting] after it.
//
// Under HTTP/1.1 the end of a request closes a dead connection. Under HTTP/2 the connection
// stays in the pool of the transport, and the next request would use it again. So if the
// request before was silent, the guard gives a used connection only a short time to answer,
// and then closes it. It does not close a connection that brought data to any request within
// the limit.
type guard struct {
	base   time.Time
	cancel context.CancelCauseFunc

	// last is when the request last brought data or the sink returned, since base. holder is
	// 1 while the sink works.
	last   atomic.Int64
	holder atomic.Int32

	line atomic.Pointer[connection] // of used

	mu       sync.Mutex
	wg       sync.WaitGroup // a firing that is due or running
	timer    *time.Timer
	limit    time.Duration // of silence
	answers  time.Duration // the limit after the first byte of a response
	probe    time.Duration // the limit for a suspect connection; 0: no suspicion
	suspect  net.Conn
	used     net.Conn // the connection of the request
	wanted   bool     // the request wants a connection
	conn     bool     // and has one
	answered bool     // and a byte came over it
	stopped  bool
}

// shortest is the shortest time for a suspect connection.
const shortest = time.Second

// newGuard returns a guard that calls cancel after limit without data. If limit is not
// positive, it never does. From the first byte of a response the limit is answers: a client
// can wait for a Retry-After within the request. The caller must stop the guard.
func newGuard(base time.Time, limit, answers time.Duration, suspicious bool, cancel context.CancelCauseFunc) *guard {
	g := &guard{base: base, limit: limit, answers: answers, cancel: cancel}
	if limit <= 0 {
		return g
	}
	if suspicious {
		g.probe = min(limit, max(limit/10, shortest))
	}
	g.last.Store(int64(time.Since(base)))
	g.mu.Lock()
	defer g.mu.Unlock()
	g.wg.Add(1)
	g.timer = time.AfterFunc(limit, g.fire)
	return g
}

// trace returns a context by which the guard sees the connections and responses of an HTTP
// request.
func (g *guard) trace(ctx context.Context) context.Context {
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GetConn:              g.getConn,
		GotConn:              g.gotConn,
		GotFirstResponseByte: g.gotByte,
	})
}

func (g *guard) getConn(string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.wanted, g.conn = true, false
}

func (g *guard) gotConn(info httptrace.GotConnInfo) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.conn, g.answered, g.suspect = true, false, nil
	g.leave()
	if !g.stopped && info.Conn != nil {
		g.used = info.Conn
		g.line.Store(lastData.use(info.Conn))
	}
	if g.stopped || g.probe == 0 || !info.Reused {
		return
	}
	g.suspect = info.Conn
	g.last.Store(int64(time.Since(g.base)))
	g.rearm(g.probe)
}

func (g *guard) gotByte() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.answered, g.suspect, g.probe = true, nil, 0
	g.line.Load().brought(time.Now())
	g.limit = g.answers
	g.last.Store(int64(time.Since(g.base)))
	g.rearm(g.limit)
}

// allow changes the limit.
func (g *guard) allow(limit time.Duration) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.limit, g.answers, g.probe, g.suspect = limit, limit, 0, nil
	g.last.Store(int64(time.Since(g.base)))
	if limit > 0 && g.timer == nil && !g.stopped {
		g.wg.Add(1)
		g.timer = time.AfterFunc(limit, g.fire)
		return
	}
	g.rearm(limit)
}

// rearm makes the timer fire after d. It is called with the lock held.
func (g *guard) rearm(d time.Duration) {
	if g.timer == nil || g.stopped {
		return
	}
	if !g.timer.Stop() {
		return // it is firing, and will read the state
	}
	if d <= 0 {
		g.wg.Done()
		g.timer = nil
		return
	}
	g.timer.Reset(d)
}

// busy records data, and that the sink works now. It returns the time since base.
func (g *guard) busy() time.Duration {
	now := time.Since(g.base)
	g.last.Store(int64(now))
	g.holder.Store(1)
	g.line.Load().brought(g.base.Add(now))
	return now
}

// waiting records that the sink has returned, and the request waits for data.
func (g *guard) waiting() {
	g.last.Store(int64(time.Since(g.base)))
	g.holder.Store(0)
}

// fire runs when a limit may have been reached.
func (g *guard) fire() {
	defer g.wg.Done()
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.stopped {
		return
	}
	limit := g.limit
	if g.suspect != nil {
		limit = g.probe
	}
	if limit <= 0 {
		g.timer = nil
		return
	}
	left := limit
	if g.holder.Load() == 0 {
		left = limit - (time.Since(g.base) - time.Duration(g.last.Load()))
	}
	if left > 0 {
		g.wg.Add(1)
		g.timer.Reset(left)
		return
	}
	if g.suspect != nil && g.line.Load().within(g.limit) {
		g.suspect, g.probe = nil, 0 // it is this request that is not answered
		g.wg.Add(1)
		g.timer.Reset(g.limit - limit)
		return
	}
	if g.suspect != nil {
		sever(g.suspect)
	}
	g.cancel(&SilenceError{After: limit, Unanswered: g.conn && !g.answered, unconnected: g.wanted && !g.conn})
}

// unconnected reports whether the request wants a connection and has none.
func (g *guard) unconnected() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.wanted && !g.conn
}

// stop ends the guard and waits for it. It reports whether a byte of a response came.
func (g *guard) stop() (answered bool) {
	g.mu.Lock()
	g.stopped = true
	if g.timer != nil && g.timer.Stop() {
		g.wg.Done()
	}
	answered = g.answered
	g.leave()
	g.mu.Unlock()
	g.wg.Wait()
	return answered
}

// leave forgets the connection of the request. The caller holds the lock.
func (g *guard) leave() {
	if g.used != nil {
		lastData.unuse(g.used)
		g.used = nil
		g.line.Store(nil)
	}
}

// sever closes a connection below TLS: a close of TLS would wait for the dead peer.
func sever(conn net.Conn) {
	if tls, ok := conn.(interface{ NetConn() net.Conn }); ok {
		conn = tls.NetConn()
	}
	_ = conn.Close()
}
