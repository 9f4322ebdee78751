// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package record

import (
	"context"
	"net/http/httptrace"
	"sync/atomic"
)

// progress is how far an HTTP request has got. A Reflector observes it: a server that cannot
// be reached gets no lists. A source without HTTP has none.
type progress int32

const (
	noRequest progress = iota
	wanted             // the request waits for a connection
	connected
	answered // a byte of the response came
)

// observe returns a context by which p follows a request.
func (p *progress) observe(ctx context.Context) context.Context {
	set := func(to progress) { atomic.StoreInt32((*int32)(p), int32(to)) }
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GetConn:              func(string) { set(wanted) },
		GotConn:              func(httptrace.GotConnInfo) { set(connected) },
		GotFirstResponseByte: func() { set(answered) },
	})
}

func (p *progress) load() progress { return progress(atomic.LoadInt32((*int32)(p))) }

// replayRequest makes the calls of a trace up to a connection.
func (p progress) replayRequest(ctx context.Context) {
	trace := httptrace.ContextClientTrace(ctx)
	if trace == nil {
		return
	}
	if p >= wanted && trace.GetConn != nil {
		trace.GetConn("")
	}
	if p >= connected && trace.GotConn != nil {
		trace.GotConn(httptrace.GotConnInfo{})
	}
}

// replayAnswer makes the call of a trace for the first byte of a response.
func (p progress) replayAnswer(ctx context.Context) {
	if trace := httptrace.ContextClientTrace(ctx); p >= answered && trace != nil && trace.GotFirstResponseByte != nil {
		trace.GotFirstResponseByte()
	}
}
