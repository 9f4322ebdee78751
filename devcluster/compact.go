// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package devcluster

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"strconv"
)

// codeOutOfRange is the gRPC code with which etcd refuses to compact what has
// been compacted.
const codeOutOfRange = 11

// Compact compacts etcd up to its newest revision, and returns that revision,
// when it is done. A revision of etcd and a resource version of Kubernetes are
// the same number. etcd then no longer has the state of any older revision, nor
// the changes up to it.
//
// That alone does not make the API server answer "Expired" (410), because its
// watch cache still has recent changes. To see expired versions, start the
// cluster with the cache turned off,
//
//	devcluster.Config{Flags: []string{"--watch-cache=false"}}              // for all kinds
//	devcluster.Config{Flags: []string{"--watch-cache-sizes=configmaps#0"}} // for one
//
// and after Compact, at once: a list at an older resource version
// (resourceVersionMatch=Exact), the continue token of a list begun before, and a
// watch from a resource version that has been followed by at least two changes
// of anything get it. With the cache on, [Cluster.Restart] has the same effect on
// watches and lists, with or without compaction.
//
// In these answers the reason is "Expired": apierrors.IsResourceExpired is true
// and apierrors.IsGone is false. A watch tells it as an event of type ERROR, not
// as the error of the call.
func (c *Cluster) Compact(ctx context.Context) (revision int64, err error) {
	if err := c.running(); err != nil {
		return 0, err
	}
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", c.info.EtcdSocket)
	}}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport, Timeout: requestTimeout}

	var answer struct {
		Header struct {
			Revision string `json:"revision"`
		} `json:"header"`
	}
	// Any read tells the newest revision; this one is of the key "\x00".
	if _, err := etcdCall(ctx, client, "/v3/kv/range", `{"key":"AA=="}`, &answer); err != nil {
		return 0, fmt.Errorf("devcluster: ask etcd for its revision: %w", err)
	}
	revision, err = strconv.ParseInt(answer.Header.Revision, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("devcluster: etcd's revision %q: %w", answer.Header.Revision, err)
	}
	body := fmt.Sprintf(`{"revision":"%d","physical":true}`, revision)
	code, err := etcdCall(ctx, client, "/v3/kv/compaction", body, nil)
	if err != nil && code != codeOutOfRange {
		return 0, fmt.Errorf("devcluster: compact etcd at revision %d: %w", revision, err)
	}
	return revision, nil
}

// etcdCall makes a call through etcd's JSON gateway. With an error it returns
// etcd's code for it, or 0.
func etcdCall(ctx context.Context, client *http.Client, path, body string, out any) (code int, err error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://etcd"+path, bytes.NewReader([]byte(body)))
	if err != nil {
		return 0, err
	}
	data, status, err := send(client, request)
	if err != nil {
		return 0, err
	}
	if status != http.StatusOK {
		var failure struct {
			Code    int    `json:"code"`
			Message string `json:"message"`
		}
		if err := json.Unmarshal(data, &failure); err != nil {
			return 0, fmt.Errorf("status %d: %s", status, data)
		}
		return failure.Code, fmt.Errorf("code %d: %s", failure.Code, failure.Message)
	}
	if out == nil {
		return 0, nil
	}
	return 0, json.Unmarshal(data, out)
}
