// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package devcluster

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"path/filepath"
	"time"

	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/apiary-go/apiary/devcluster/internal/pki"
	"github.com/apiary-go/apiary/devcluster/internal/private"
	"github.com/apiary-go/apiary/devcluster/internal/wire"
)

// rulesTimeout bounds the time until the server applies new rules. It takes some
// milliseconds.
const rulesTimeout = 30 * time.Second

const rbacPath = "/apis/rbac.authorization.k8s.io/v1"

// User is a user of a cluster with a list of RBAC rules. It authenticates with a
// client certificate, which stays valid across restarts. All methods can be called
// from any goroutine.
type User struct {
	cluster    *Cluster
	name       string
	kubeconfig string
	config     *rest.Config
}

// AddUser creates a user with these rules in all namespaces. It returns when the
// server applies them. A user without rules has the rights of every authenticated
// user: discovery, the version, and reviews of its own rights.
//
// The rules are stored in a ClusterRole with the name "devcluster:user:" followed
// by the user's name, and a ClusterRoleBinding with the same name. For rights in one
// namespace only, add a user without rules, and create a Role and a RoleBinding.
//
// If the user exists, AddUser issues another certificate and replaces the rules.
func (c *Cluster) AddUser(ctx context.Context, name string, rules ...rbacv1.PolicyRule) (*User, error) {
	if name == "" {
		return nil, errors.New("devcluster: add user: the name is empty")
	}
	if err := c.running(); err != nil {
		return nil, err
	}
	u := &User{cluster: c, name: name}
	if err := u.issueCredentials(); err != nil {
		return nil, fmt.Errorf("devcluster: add user %q: %w", name, err)
	}
	if err := u.SetRules(ctx, rules...); err != nil {
		return nil, err
	}
	return u, nil
}

// issueCredentials makes the user's certificate and kubeconfig.
func (u *User) issueCredentials() error {
	c := u.cluster
	ca, err := pki.LoadAuthority(c.pkiFile(wire.CACert), c.pkiFile(wire.CAKey))
	if err != nil {
		return err
	}
	cert, key, err := ca.Client(u.name)
	if err != nil {
		return err
	}
	u.config = &rest.Config{
		Host:            c.URL(),
		QPS:             -1,
		TLSClientConfig: rest.TLSClientConfig{CAData: c.CAData(), CertData: cert, KeyData: key},
	}
	k := clientcmdapi.NewConfig()
	k.Clusters["devcluster"] = &clientcmdapi.Cluster{Server: u.config.Host, CertificateAuthorityData: u.config.CAData}
	k.AuthInfos[u.name] = &clientcmdapi.AuthInfo{ClientCertificateData: cert, ClientKeyData: key}
	k.Contexts["devcluster"] = &clientcmdapi.Context{Cluster: "devcluster", AuthInfo: u.name, Namespace: "default"}
	k.CurrentContext = "devcluster"
	data, err := clientcmd.Write(*k)
	if err != nil {
		return fmt.Errorf("encode the kubeconfig: %w", err)
	}
	// The user's name can contain characters that are not valid in a file name.
	u.kubeconfig = filepath.Join(c.temp, "user-"+rand.Text()+".kubeconfig")
	return private.WriteFile(u.kubeconfig, data)
}

// Name returns the user's name.
func (u *User) Name() string { return u.name }

// Config returns a new client configuration for this user. It has no rate limit
// (QPS is -1) and no timeout. The caller can modify it.
func (u *User) Config() *rest.Config { return rest.CopyConfig(u.config) }

// Kubeconfig returns the path of a kubeconfig file for this user. The file has mode
// 0600. [Cluster.Stop] removes it.
func (u *User) Kubeconfig() string { return u.kubeconfig }

// SetRules replaces the user's rules, and returns when the server applies the new
// rules and no longer the old ones. Without rules the user loses all rights that
// AddUser or SetRules gave it. Open watches continue: the server does not authorize
// them again.
//
// Errors of the server, for example about an invalid rule, are wrapped for the
// functions of k8s.io/apimachinery/pkg/api/errors; the old rules then stay. SetRules
// also fails if the server does not apply the new rules within 30 seconds, as when
// a flag has turned RBAC off.
func (u *User) SetRules(ctx context.Context, rules ...rbacv1.PolicyRule) error {
	if err := u.cluster.running(); err != nil {
		return err
	}
	if err := u.setRules(ctx, rules); err != nil {
		return fmt.Errorf("devcluster: set the rules of user %q: %w", u.name, err)
	}
	return nil
}

func (u *User) setRules(ctx context.Context, rules []rbacv1.PolicyRule) error {
	ctx, cancel := context.WithTimeoutCause(ctx, rulesTimeout,
		fmt.Errorf("%s have passed: %w", rulesTimeout, context.DeadlineExceeded))
	defer cancel()
	api := u.cluster.api
	role := "devcluster:user:" + u.name
	// The server gets each role as a whole from a watch. Each change adds a right to
	// a new path. When the user has this right, the server has the new role.
	marker := "/devcluster/rules/" + rand.Text()
	all := append([]rbacv1.PolicyRule{{NonResourceURLs: []string{marker}, Verbs: []string{"get"}}}, rules...)
	err := api.put(ctx, rbacPath+"/clusterroles", url.PathEscape(role), map[string]any{
		"apiVersion": rbacv1.SchemeGroupVersion.String(),
		"kind":       "ClusterRole",
		"metadata":   map[string]any{"name": role},
		"rules":      all,
	})
	if err != nil {
		return err
	}
	err = api.put(ctx, rbacPath+"/clusterrolebindings", url.PathEscape(role), map[string]any{
		"apiVersion": rbacv1.SchemeGroupVersion.String(),
		"kind":       "ClusterRoleBinding",
		"metadata":   map[string]any{"name": role},
		"roleRef":    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: role},
		"subjects":   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: u.name}},
	})
	if err != nil {
		return err
	}
	return u.cluster.poll(ctx, "the server applies the new rules", func(ctx context.Context) (bool, error) {
		return u.may(ctx, marker)
	})
}

// may returns true if the user is allowed to read a path.
func (u *User) may(ctx context.Context, path string) (bool, error) {
	review := map[string]any{
		"apiVersion": "authorization.k8s.io/v1",
		"kind":       "SubjectAccessReview",
		"spec": map[string]any{
			"user":                  u.name,
			"groups":                []string{"system:authenticated"},
			"nonResourceAttributes": map[string]any{"path": path, "verb": "get"},
		},
	}
	var answer struct {
		Status struct {
			Allowed bool `json:"allowed"`
		} `json:"status"`
	}
	err := u.cluster.api.do(ctx, http.MethodPost, "/apis/authorization.k8s.io/v1/subjectaccessreviews", review, &answer)
	return answer.Status.Allowed, err
}
