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

// codeOutOfRange is the gRPC code of etcd for a revision that is compacted already.
const codeOutOfRange = 11

// Compact compacts etcd up to its newest revision, and returns this revision when
// the compaction is complete. Revisions of etcd are resource versions of Kubernetes.
// After Compact, etcd has no older state and no older changes.
//
// With the watch cache on, the API server still serves recent changes. To get
// "Expired" (410), turn the cache off:
//
//	devcluster.Config{Flags: []string{"--watch-cache=false"}}              // for all kinds
//	devcluster.Config{Flags: []string{"--watch-cache-sizes=configmaps#0"}} // for one
//
// These requests then get "Expired" immediately after Compact:
//
//   - a list at an older resource version (resourceVersionMatch=Exact);
//   - the continue token of a list that began before;
//   - a watch from a resource version with at least two later changes of any object.
//
// With the cache on, use [Cluster.Restart]. It expires watches and lists with or
// without compaction.
//
// The reason of the error is "Expired": apierrors.IsResourceExpired returns true,
// and apierrors.IsGone returns false. A watch gets it as an event of type ERROR,
// not as the error of the call.
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
	// Every read returns the newest revision; this one reads the key "\x00".
	if _, err := etcdCall(ctx, client, "/v3/kv/range", `{"key":"AA=="}`, &answer); err != nil {
		return 0, fmt.Errorf("devcluster: read the newest revision of etcd: %w", err)
	}
	revision, err = strconv.ParseInt(answer.Header.Revision, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("devcluster: parse etcd's revision %q: %w", answer.Header.Revision, err)
	}
	body := fmt.Sprintf(`{"revision":"%d","physical":true}`, revision)
	code, err := etcdCall(ctx, client, "/v3/kv/compaction", body, nil)
	if err != nil && code != codeOutOfRange {
		return 0, fmt.Errorf("devcluster: compact etcd at revision %d: %w", revision, err)
	}
	return revision, nil
}

// etcdCall makes a call through etcd's JSON gateway. code is etcd's code for the
// error, or 0.
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
