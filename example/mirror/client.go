// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package main

import (
	"errors"
	"fmt"
	"os"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// clientConfig reads a kubeconfig file, or those that $KUBECONFIG names.
func clientConfig(kubeconfig string) (*rest.Config, error) {
	origin := "--kubeconfig=" + kubeconfig
	rules := &clientcmd.ClientConfigLoadingRules{ExplicitPath: kubeconfig}
	if kubeconfig == "" {
		env := os.Getenv(clientcmd.RecommendedConfigPathEnvVar)
		if env == "" {
			return nil, errors.New("no cluster is configured: name a kubeconfig file with --kubeconfig or $KUBECONFIG; " +
				"bin/devcluster, which \"make build\" builds, starts a small cluster and prints the path of one")
		}
		origin = clientcmd.RecommendedConfigPathEnvVar + "=" + env
		rules = clientcmd.NewDefaultClientConfigLoadingRules()
	}
	loaded, err := rules.Load()
	if err != nil {
		return nil, fmt.Errorf("kubeconfig of %s: %w", origin, err)
	}
	config, err := clientcmd.NewNonInteractiveClientConfig(*loaded, "", nil, nil).ClientConfig()
	if clientcmd.IsEmptyConfig(err) {
		err = errors.New("it names no cluster: check that it is a kubeconfig and has a current-context")
	}
	if err != nil {
		return nil, fmt.Errorf("kubeconfig of %s: %w", origin, err)
	}
	config.QPS = -1 // no limit: each collection has one request at a time
	return config, nil
}
