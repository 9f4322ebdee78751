// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/apiary-go/apiary/devcluster/internal/private"
	"github.com/apiary-go/apiary/devcluster/internal/server"
	"github.com/apiary-go/apiary/devcluster/internal/wire"
)

// kubeconfigMark is the first line of every kubeconfig that this command writes. It
// overwrites no file without it.
const kubeconfigMark = "# Written by devcluster, which removes it at its end.\n"

// kubeconfig is the administrator's kubeconfig file.
type kubeconfig struct {
	path    string
	written fs.FileInfo // the file that this process wrote, or nil
}

// newKubeconfig returns the kubeconfig without writing it. It returns an error if a
// file of another program, or a symbolic link, has its path.
func (o options) newKubeconfig(t *tempDir) (*kubeconfig, error) {
	path := o.kubeconfig
	if path == "" {
		path = filepath.Join(t.path, wire.Kubeconfig)
	}
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("resolve the path of the kubeconfig: %w", err)
	}
	k := &kubeconfig{path: path}
	return k, k.check()
}

func (k *kubeconfig) check() error {
	info, err := os.Lstat(k.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil && info.Mode().IsRegular() {
		var there []byte
		there, err = os.ReadFile(k.path)
		if err == nil && (len(there) == 0 || strings.HasPrefix(string(there), kubeconfigMark)) {
			return nil
		}
	}
	if err != nil {
		return fmt.Errorf("check the kubeconfig: %w", err)
	}
	return fmt.Errorf("--kubeconfig %s exists and was not written by devcluster; move it away or choose another path", k.path)
}

func (k *kubeconfig) write(s *server.Server) error {
	data, err := s.Kubeconfig()
	if err == nil {
		err = k.check()
	}
	if err == nil {
		err = private.WriteFile(k.path, append([]byte(kubeconfigMark), data...))
	}
	if err == nil {
		k.written, err = os.Lstat(k.path)
	}
	if err != nil {
		return fmt.Errorf("write the kubeconfig: %w", err)
	}
	return nil
}

// remove removes the file unless another file has replaced it.
func (k *kubeconfig) remove() error {
	there, err := os.Lstat(k.path)
	if err == nil && os.SameFile(there, k.written) {
		err = os.Remove(k.path)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove the kubeconfig: %w", err)
	}
	return nil
}
