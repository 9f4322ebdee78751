// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

// Package wire defines the protocol between the library and the command that it
// starts as a child process: one line of JSON on the child's standard output, and
// one word on its standard input.
package wire

// Protocol is the version of the protocol. The library refuses a binary with another
// version.
const Protocol = 1

// Keep is a line on the child's standard input. After it the child keeps its
// --temp-dir for a restart when the input is closed. If the input is closed without
// it, as when the parent dies, the child removes all temporary files.
const Keep = "keep"

// Names of files in the data directory.
const (
	EtcdDir       = "etcd"
	PKIDir        = "pki"
	TokenFile     = "admin.token"
	AddressFile   = "address.json"
	LockFile      = "lock"
	CACert        = "ca.crt"
	CAKey         = "ca.key"
	ServerCert    = "apiserver.crt"
	ServerKey     = "apiserver.key"
	AccountKey    = "sa.key"
	AccountPublic = "sa.pub"
	TokenTable    = "tokens.csv"
)

// Names in the temporary directory.
const (
	DataDir    = "data"
	Kubeconfig = "kubeconfig"
	EtcdSocket = "etcd.sock"
)

// Ready is the line that the command prints with --ready-json on its standard
// output, when the API server is ready.
type Ready struct {
	// Protocol is the constant Protocol of the command.
	Protocol int `json:"protocol"`
	// PID is the process id of the server.
	PID int `json:"pid"`
	// Server is the URL of the API server.
	Server string `json:"server"`
	// Version is the version of the server in /version, for example "v1.37.2".
	Version string `json:"version"`
	// Kubeconfig is the path of the administrator's kubeconfig file.
	Kubeconfig string `json:"kubeconfig"`
	// DataDir is the directory of etcd's data, the certificates and the token.
	DataDir string `json:"dataDir"`
	// EtcdSocket is the path of the Unix socket on which etcd listens.
	EtcdSocket string `json:"etcdSocket"`
}
