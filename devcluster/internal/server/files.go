// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

//go:build !race

package server

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"

	"github.com/apiary-go/apiary/devcluster/internal/pki"
	"github.com/apiary-go/apiary/devcluster/internal/private"
	"github.com/apiary-go/apiary/devcluster/internal/wire"
)

// credentials are the files in a data directory besides etcd's data. With them the
// same cluster can be started again.
type credentials struct {
	dir   string
	token string
	ca    *pki.Authority
}

func (c *credentials) path(name string) string {
	return filepath.Join(c.dir, wire.PKIDir, name)
}

// loadCredentials reads the credentials in dir, and creates missing ones.
func loadCredentials(dir string) (*credentials, error) {
	c := &credentials{dir: dir}
	if err := private.Dir(c.path("")); err != nil {
		return nil, fmt.Errorf("open the directory of the certificates: %w", err)
	}
	if err := c.loadAuthority(); err != nil {
		return nil, err
	}
	if err := c.ensure(wire.ServerCert, c.makeServing); err != nil {
		return nil, err
	}
	if err := c.ensure(wire.AccountPublic, c.makeServiceAccountKey); err != nil {
		return nil, err
	}
	if err := c.ensure(wire.TokenFile, c.makeToken); err != nil {
		return nil, err
	}
	token, err := os.ReadFile(c.path(wire.TokenFile))
	if err != nil {
		return nil, fmt.Errorf("read the administrator's token: %w", err)
	}
	c.token = strings.TrimSpace(string(token))
	table := fmt.Sprintf("%s,admin,admin,\"system:masters\"\n", c.token)
	return c, c.write(wire.TokenTable, []byte(table))
}

// ensure calls makeFile if the named file is missing.
func (c *credentials) ensure(name string, makeFile func() error) error {
	_, err := os.Stat(c.path(name))
	if errors.Is(err, fs.ErrNotExist) {
		return makeFile()
	}
	return err
}

func (c *credentials) loadAuthority() error {
	err := c.ensure(wire.CACert, func() error {
		ca, err := pki.NewAuthority("devcluster")
		if err != nil {
			return err
		}
		if err := c.write(wire.CAKey, ca.KeyPEM); err != nil {
			return err
		}
		return c.write(wire.CACert, ca.CertPEM)
	})
	if err != nil {
		return err
	}
	c.ca, err = pki.LoadAuthority(c.path(wire.CACert), c.path(wire.CAKey))
	return err
}

func (c *credentials) makeServing() error {
	names := []string{"localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local"}
	addresses := []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback, net.IPv4(10, 0, 0, 1)}
	cert, key, err := c.ca.Server("kube-apiserver", names, addresses)
	if err != nil {
		return err
	}
	if err := c.write(wire.ServerKey, key); err != nil {
		return err
	}
	return c.write(wire.ServerCert, cert)
}

func (c *credentials) makeServiceAccountKey() error {
	key, keyPEM, err := pki.NewKey()
	if err != nil {
		return err
	}
	publicPEM, err := pki.PublicPEM(key)
	if err != nil {
		return err
	}
	if err := c.write(wire.AccountKey, keyPEM); err != nil {
		return err
	}
	return c.write(wire.AccountPublic, publicPEM)
}

func (c *credentials) makeToken() error {
	var secret [24]byte
	if _, err := rand.Read(secret[:]); err != nil {
		return fmt.Errorf("make the administrator's token: %w", err)
	}
	return c.write(wire.TokenFile, []byte(hex.EncodeToString(secret[:])+"\n"))
}

// write writes a whole file with mode 0600.
func (c *credentials) write(name string, data []byte) error {
	return private.WriteFile(c.path(name), data)
}

type address struct {
	Port int `json:"port"`
}

// listen opens the API server's socket, on the given port, or on the port stored in
// the data directory, or on a free one.
func listen(dataDir string, port int) (net.Listener, int, error) {
	file := filepath.Join(dataDir, wire.AddressFile)
	if port == 0 {
		var before address
		data, err := os.ReadFile(file)
		switch {
		case errors.Is(err, fs.ErrNotExist):
		case err != nil:
			return nil, 0, fmt.Errorf("read the address of the cluster: %w", err)
		default:
			if err := json.Unmarshal(data, &before); err != nil {
				return nil, 0, fmt.Errorf("parse %s (remove it to give the cluster a new port): %w", file, err)
			}
			port = before.Port
		}
	}
	l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		return nil, 0, fmt.Errorf("listen on port %d of loopback; stop the process that uses it, or choose another port with --port: %w", port, err)
	}
	tcp, ok := l.Addr().(*net.TCPAddr)
	if !ok {
		return nil, 0, errors.Join(fmt.Errorf("unexpected address %v", l.Addr()), l.Close())
	}
	data, err := json.Marshal(address{Port: tcp.Port})
	if err == nil {
		err = private.WriteFile(file, data)
	}
	if err != nil {
		return nil, 0, errors.Join(err, l.Close())
	}
	return l, tcp.Port, nil
}
