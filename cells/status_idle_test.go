// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package cells

import (
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/apiary-go/apiary/status"
)

// A reader keeps what it has read for IdleTimeout, or until its end.
func TestStatusIdleTimeout(t *testing.T) {
	for timeout, kept := range map[time.Duration]map[time.Duration]bool{
		time.Minute: {50 * time.Second: true, 61 * time.Second: false},
		-1:          {24 * time.Hour: true},
	} {
		for unread, kept := range kept {
			playStatus(t, status.Config{Linger: -1, IdleTimeout: timeout}, func(r *statusRig) {
				reader := r.engine.ClusterReader(r.Context())
				read := func() {
					if _, err := r.get(reader, podVersion("Pod"), "a", "one"); err != nil {
						r.Fatal(err)
					}
				}
				read()
				since := len(r.api.Requests())
				time.Sleep(unread)
				r.asked(&since) // such as watches that were opened again
				read()
				if asked := r.asked(&since); (len(asked) == 0) != kept {
					r.Errorf("unread for %v with a timeout of %v, it asks %q", unread, timeout, asked)
				}
			}, podIn(corev1.PodRunning, "a", "one", 0))
		}
	}
}

// With KeepAll objects are whole, those of kinds without a status among them.
func TestStatusKeepAll(t *testing.T) {
	secret := &corev1.Secret{ObjectMeta: metaOf("a", "s", 0), Data: map[string][]byte{"key": []byte("value")}}
	secret.Annotations = map[string]string{"note": "kept"}
	secret.ManagedFields = []metav1.ManagedFieldsEntry{{Manager: "m", Operation: metav1.ManagedFieldsOperationApply, APIVersion: "v1", FieldsType: "FieldsV1", FieldsV1: &metav1.FieldsV1{}}}
	for _, all := range []bool{false, true} {
		playStatus(t, status.Config{Rules: &status.Rules{KeepAll: all}}, func(r *statusRig) {
			w := r.watch(idOf("Secret", "a", "s"))
			r.is(w, "s Current")
			obj := w.Statuses()[0].Object
			if _, has := obj.Object["data"]; has != all || obj.GetAnnotations()["note"] == "kept" != all || obj.GetManagedFields() != nil || obj.GetKind() != "Secret" {
				r.Errorf("KeepAll is %t: got %v", all, obj.Object)
			}
		}, secret)
	}
}
