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

// guard ends a request that has been silent for too long. Time that the sink
// takes does not count: the owner of the request says with [guard.busy] and
// [guard.waiting] whose turn it is.
//
// Ending a request is enough to lose a dead connection under HTTP/1.1, which
// has one request per connection. Under HTTP/2 the connection stays in the
// pool of the transport, and the next request would be sent into the same black
// hole. So a guard that is suspicious (the request before fell silent) gives a
// connection that was used before only a short time to answer, and closes it
// if it does not. A connection that answered anyone within the limit is left alone.
type guard struct {
	base   time.Time
	cancel context.CancelCauseFunc

	// last is when the request last showed life or the sink returned, since
	// base. holder is 1 while the sink has its turn.
	last   atomic.Int64
	holder atomic.Int32

	line atomic.Pointer[connection] // of used

	mu       sync.Mutex
	wg       sync.WaitGroup // a firing that is due or running
	timer    *time.Timer
	limit    time.Duration // of silence
	answers  time.Duration // the limit once the server answered
	probe    time.Duration // the same for a suspected connection; 0: no suspicion
	suspect  net.Conn
	used     net.Conn // the connection of the request
	wanted   bool     // a connection was asked for
	conn     bool     // and was got
	answered bool     // and a byte came over it
	stopped  bool
}

// shortest is the shortest time that a suspected connection gets.
const shortest = time.Second

// newGuard returns a guard that cancels what cancel belongs to after limit of
// silence; not positive: never. From the first byte of an answer the limit is
// answers: a client may be told to come again later, and wait for that within
// the request. The guard must be stopped.
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

// trace returns a context that tells the guard of connections and answers, if
// the request is made over HTTP.
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
		return // it is firing, and will look at the state for itself
	}
	if d <= 0 {
		g.wg.Done()
		g.timer = nil
		return
	}
	g.timer.Reset(d)
}

// busy says that something was read and that the sink has its turn. It returns
// the time, since base.
func (g *guard) busy() time.Duration {
	now := time.Since(g.base)
	g.last.Store(int64(now))
	g.holder.Store(1)
	g.line.Load().brought(g.base.Add(now))
	return now
}

// waiting says that the source has its turn again.
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

// unconnected reports whether the request wanted a connection and got none.
func (g *guard) unconnected() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.wanted && !g.conn
}

// stop ends the guard and waits for it. It reports whether a byte of an answer
// was seen.
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

// sever closes a connection below TLS: a farewell would only wait for a peer
// that is not there.
func sever(conn net.Conn) {
	if tls, ok := conn.(interface{ NetConn() net.Conn }); ok {
		conn = tls.NetConn()
	}
	_ = conn.Close()
}
