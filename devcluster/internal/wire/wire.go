// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

// Package wire holds what the library and the command that it starts as a
// child process say to each other: one line of JSON on the child's standard
// output, and one word on its standard input.
package wire

// Protocol is the version of this conversation. The library refuses a binary
// that speaks another one.
const Protocol = 1

// Keep is the line that tells the child, before its standard input closes, to
// leave its --temp-dir in place because a restart follows. An input that closes
// without it, as when the parent dies, means that everything temporary goes.
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

// Ready is the line that the command prints on its standard output, with
// --ready-json, once the API server answers.
type Ready struct {
	// Protocol is the number above.
	Protocol int `json:"protocol"`
	// PID is the process id of the server.
	PID int `json:"pid"`
	// Server is the URL of the API server.
	Server string `json:"server"`
	// Version is what /version of the server says, for example "v1.37.2".
	Version string `json:"version"`
	// Kubeconfig is the path of the administrator's kubeconfig file.
	Kubeconfig string `json:"kubeconfig"`
	// DataDir is the directory of etcd's data, the certificates and the token.
	DataDir string `json:"dataDir"`
	// EtcdSocket is the path of the Unix socket on which etcd listens.
	EtcdSocket string `json:"etcdSocket"`
}
