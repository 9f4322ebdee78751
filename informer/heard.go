// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package informer

import (
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// heard knows when each connection last brought something, to any Reflector of the
// process. Under HTTP/2 many watches share one, and one of them that is not answered
// says nothing of the connection while others are.
var lastData = connections{byConn: map[net.Conn]*connection{}, base: time.Now()}

type connections struct {
	base   time.Time
	mu     sync.Mutex
	byConn map[net.Conn]*connection
}

// connection is one that requests use.
type connection struct {
	last  atomic.Int64 // when it brought something, since connections.base
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

// brought notes that the connection brought something at the given time. A nil
// connection is none.
func (c *connection) brought(at time.Time) {
	if c != nil {
		c.last.Store(int64(at.Sub(lastData.base)))
	}
}

// within reports whether the connection brought something in the last d.
func (c *connection) within(d time.Duration) bool {
	return time.Since(lastData.base)-time.Duration(c.last.Load()) < d
}
