// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package informer

import (
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// lastData has the time of the last data of each connection, for all Reflectors of the
// process. Under HTTP/2 many watches share a connection. If one of them gets no response and
// others do, the connection works.
var lastData = connections{byConn: map[net.Conn]*connection{}, base: time.Now()}

type connections struct {
	base   time.Time
	mu     sync.Mutex
	byConn map[net.Conn]*connection
}

// connection is a connection that requests use.
type connection struct {
	last  atomic.Int64 // time of the last data, since connections.base
	users int
}

// use returns the connection. The caller must call unuse.
func (c *connections) use(conn net.Conn) *connection {
	c.mu.Lock()
	defer c.mu.Unlock()
	known := c.byConn[conn]
	if known == nil {
		known = &connection{}
		known.last.Store(-1 << 62) // long ago
		c.byConn[conn] = known
	}
	known.users++
	return known
}

func (c *connections) unuse(conn net.Conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if known := c.byConn[conn]; known != nil {
		if known.users--; known.users == 0 {
			delete(c.byConn, conn)
		}
	}
}

// brought records data of the connection at the given time. On nil it does nothing.
func (c *connection) brought(at time.Time) {
	if c != nil {
		c.last.Store(int64(at.Sub(lastData.base)))
	}
}

// within reports whether the connection brought data in the last d.
func (c *connection) within(d time.Duration) bool {
	return time.Since(lastData.base)-time.Duration(c.last.Load()) < d
}
