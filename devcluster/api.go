// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package devcluster

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
)

// requestTimeout bounds each single request that this package makes.
const requestTimeout = 30 * time.Second

// pollInterval is the interval between two checks of a condition.
const pollInterval = 20 * time.Millisecond

// api sends the requests of this package, as the administrator. It has connections
// of its own, so that all of them end with the cluster.
type api struct {
	client *http.Client
	url    string
	token  string
}

func newAPI(config *rest.Config) (*api, error) {
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(config.CAData) {
		return nil, errors.New("the kubeconfig contains no CA certificate")
	}
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}}
	return &api{
		client: &http.Client{Transport: transport, Timeout: requestTimeout},
		url:    config.Host,
		token:  config.BearerToken,
	}, nil
}

// do sends in as JSON and decodes the response into out. Both can be nil. The error
// of an unsuccessful response is an *apierrors.StatusError.
func (a *api) do(ctx context.Context, method, path string, in, out any) error {
	var body io.Reader
	if in != nil {
		data, err := json.Marshal(in)
		if err != nil {
			return fmt.Errorf("encode the body of %s %s: %w", method, path, err)
		}
		body = bytes.NewReader(data)
	}
	request, err := http.NewRequestWithContext(ctx, method, a.url+path, body)
	if err != nil {
		return fmt.Errorf("make a request %s %s: %w", method, path, err)
	}
	request.Header.Set("Authorization", "Bearer "+a.token)
	request.Header.Set("Accept", "application/json")
	if in != nil {
		request.Header.Set("Content-Type", "application/json")
	}
	data, status, err := send(a.client, request)
	if err != nil {
		return err
	}
	if status < 200 || status > 299 {
		return statusError(method, path, status, data)
	}
	if out == nil {
		return nil
	}
	if err := json.Unmarshal(data, out); err != nil {
		return fmt.Errorf("decode the response to %s %s: %w", method, path, err)
	}
	return nil
}

// put creates or replaces the object at collection/name.
func (a *api) put(ctx context.Context, collection, name string, object map[string]any) error {
	err := a.do(ctx, http.MethodPost, collection, object, nil)
	for apierrors.IsAlreadyExists(err) || apierrors.IsConflict(err) {
		var there struct {
			Metadata struct {
				ResourceVersion string `json:"resourceVersion"`
			} `json:"metadata"`
		}
		if err = a.do(ctx, http.MethodGet, collection+"/"+name, nil, &there); err != nil {
			return err
		}
		metadata, ok := object["metadata"].(map[string]any)
		if !ok {
			return fmt.Errorf("object %s has no metadata", name)
		}
		metadata["resourceVersion"] = there.Metadata.ResourceVersion
		err = a.do(ctx, http.MethodPut, collection+"/"+name, object, nil)
	}
	return err
}

func send(client *http.Client, request *http.Request) ([]byte, int, error) {
	response, err := client.Do(request)
	if err != nil {
		return nil, 0, err
	}
	data, err := io.ReadAll(response.Body)
	if err = errors.Join(err, response.Body.Close()); err != nil {
		return nil, 0, fmt.Errorf("read the response to %s %s: %w", request.Method, request.URL.Path, err)
	}
	return data, response.StatusCode, nil
}

func statusError(method, path string, code int, body []byte) error {
	status := metav1.Status{}
	if err := json.Unmarshal(body, &status); err != nil || status.Kind != "Status" {
		status = metav1.Status{
			Status:  metav1.StatusFailure,
			Code:    int32(code),
			Message: fmt.Sprintf("%s %s: %s", method, path, bytes.TrimSpace(body)),
		}
		if code == http.StatusNotFound {
			status.Reason = metav1.StatusReasonNotFound
		}
	}
	return &apierrors.StatusError{ErrStatus: status}
}

// poll calls condition until it returns true or an error, ctx ends, or the server
// exits.
func (c *Cluster) poll(ctx context.Context, what string, condition func(context.Context) (bool, error)) error {
	tick := time.NewTicker(pollInterval)
	defer tick.Stop()
	exited := c.Exited()
	for {
		done, err := condition(ctx)
		if done || err != nil {
			return err
		}
		select {
		case <-tick.C:
		case <-exited:
			return fmt.Errorf("wait until %s: %w", what, errors.Join(ErrNotRunning, c.Err()))
		case <-ctx.Done():
			return fmt.Errorf("wait until %s: %w", what, context.Cause(ctx))
		}
	}
}
