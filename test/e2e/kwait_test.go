// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

//go:build unix

package e2e

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/apiary-go/apiary/internal/clitest"
)

// kwaitRun runs the command kwait in a namespace.
type kwaitRun struct {
	t         *testing.T
	binary    string
	namespace string
}

func buildKwait(t *testing.T, namespace string) *kwaitRun {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "kwait")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-C", "../../kwait", "-o", binary, ".").CombinedOutput(); err != nil {
		t.Fatalf("go build of kwait: %v\n%s", err, out)
	}
	return &kwaitRun{t: t, binary: binary, namespace: namespace}
}

func (k *kwaitRun) start(kubeconfig string, args ...string) *clitest.Program {
	k.t.Helper()
	return clitest.Start(k.t, exec.Command(k.binary, append([]string{"--kubeconfig", kubeconfig, "-n", k.namespace}, args...)...))
}

func TestKwait(t *testing.T) {
	cluster := sharedCluster(t)
	server := startApp(t, cluster.Kubeconfig())
	ns := server.namespace(t)
	maps, deployments := server.kube.CoreV1().ConfigMaps(ns), server.kube.AppsV1().Deployments(ns)
	kwait := buildKwait(t, ns)
	file := filepath.Join(t.TempDir(), "app.yaml")
	must(t, os.WriteFile(file, []byte("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: conf}\n---\n"+
		"apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\n"), 0o644))
	conf, web := "ConfigMap/"+ns+"/conf  ", "Deployment/"+ns+"/web  "

	// There are no objects.
	p := kwait.start(cluster.Kubeconfig(), "-f", file, "--timeout", "2s")
	p.MustEnd(2, 10*time.Second)
	p.Expect("  "+conf+"NotFound", "  "+web+"NotFound", "timed out: 0 of 2 are Current, 2s\n")

	// The user can read one of them, by its name.
	jane, err := cluster.AddUser(t.Context(), "kwait-jane", rbacv1.PolicyRule{
		APIGroups: []string{""}, Resources: []string{"configmaps"}, ResourceNames: []string{"conf"}, Verbs: []string{"get"},
	})
	must(t, err)
	p = kwait.start(jane.Kubeconfig(), "-f", file, "--timeout", "2s")
	p.MustEnd(2, 10*time.Second)
	p.Expect("  "+conf+"NotFound", "  "+web+"Forbidden", `User "kwait-jane" cannot get resource "deployments"`)

	// Both are created, and become ready. One wait has the file, and one the short names.
	waits := []*clitest.Program{
		kwait.start(cluster.Kubeconfig(), "-f", file),
		kwait.start(cluster.Kubeconfig(), "cm/conf", "deploy/web"),
	}
	for _, p := range waits {
		p.WaitFor(web + "NotFound")
	}
	_, err = maps.Create(t.Context(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "conf"}}, metav1.CreateOptions{})
	must(t, err)
	created, err := deployments.Create(t.Context(), kwaitDeployment(), metav1.CreateOptions{})
	must(t, err)
	for _, p := range waits {
		p.WaitFor(conf + "Current")
		p.WaitFor(web + "InProgress")
	}
	created.Status = appsv1.DeploymentStatus{
		ObservedGeneration: created.Generation, Replicas: 1, UpdatedReplicas: 1, ReadyReplicas: 1, AvailableReplicas: 1,
		Conditions: []appsv1.DeploymentCondition{
			{Type: appsv1.DeploymentProgressing, Status: corev1.ConditionTrue, Reason: "NewReplicaSetAvailable"},
			{Type: appsv1.DeploymentAvailable, Status: corev1.ConditionTrue},
		},
	}
	_, err = deployments.UpdateStatus(t.Context(), created, metav1.UpdateOptions{})
	must(t, err)
	for _, p := range waits {
		p.MustEnd(0, 10*time.Second)
		p.Expect(web+"Current", "all 2 are Current")
	}
	p = kwait.start(cluster.Kubeconfig(), "deployments", "--all", "--for", "condition=available")
	p.MustEnd(0, 10*time.Second)
	p.Expect(web+"available=True", "it is available=True")

	// They are deleted.
	p = kwait.start(cluster.Kubeconfig(), "-f", file, "--for", "deleted")
	p.WaitFor(web + "Current")
	must(t, maps.Delete(t.Context(), "conf", metav1.DeleteOptions{}))
	p.WaitFor(conf + "NotFound")
	must(t, deployments.Delete(t.Context(), "web", metav1.DeleteOptions{}))
	p.MustEnd(0, 10*time.Second)
	p.Expect("all 2 are gone")

	// Ctrl-C.
	p = kwait.start(cluster.Kubeconfig(), "-f", file)
	p.WaitFor(web + "NotFound")
	p.Signal(os.Interrupt)
	p.MustEnd(130, 5*time.Second)
	p.Expect("interrupted: 0 of 2 are Current")
}

// A Deployment is not ready, and kwait shows its Pod and the events of the Pod.
func TestKwaitWhy(t *testing.T) {
	cluster := sharedCluster(t)
	server := startApp(t, cluster.Kubeconfig())
	ns := server.namespace(t)
	create := metav1.CreateOptions{}
	deployment, err := server.kube.AppsV1().Deployments(ns).Create(t.Context(), kwaitDeployment(), create)
	must(t, err)
	isController := true
	owner := func(kind string, obj metav1.Object) []metav1.OwnerReference {
		return []metav1.OwnerReference{{APIVersion: "apps/v1", Kind: kind, Name: obj.GetName(), UID: obj.GetUID(), Controller: &isController}}
	}
	template := deployment.Spec.Template
	set, err := server.kube.AppsV1().ReplicaSets(ns).Create(t.Context(), &appsv1.ReplicaSet{
		ObjectMeta: metav1.ObjectMeta{Name: "web-1", OwnerReferences: owner("Deployment", deployment)},
		Spec:       appsv1.ReplicaSetSpec{Selector: deployment.Spec.Selector, Template: template},
	}, create)
	must(t, err)
	pod, err := server.kube.CoreV1().Pods(ns).Create(t.Context(), &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "web-1-a", Labels: template.Labels, OwnerReferences: owner("ReplicaSet", set)},
		Spec:       template.Spec,
	}, create)
	must(t, err)
	pod.Status = corev1.PodStatus{Phase: corev1.PodRunning, ContainerStatuses: []corev1.ContainerStatus{{
		Name: "main", RestartCount: 4,
		State:                corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "CrashLoopBackOff", Message: "back-off 40s"}},
		LastTerminationState: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{Reason: "OOMKilled", ExitCode: 137, Message: "secret"}},
	}}}
	_, err = server.kube.CoreV1().Pods(ns).UpdateStatus(t.Context(), pod, metav1.UpdateOptions{})
	must(t, err)
	_, err = server.kube.CoreV1().Events(ns).Create(t.Context(), &corev1.Event{
		ObjectMeta:     metav1.ObjectMeta{Name: "web-1-a.1"},
		InvolvedObject: corev1.ObjectReference{APIVersion: "v1", Kind: "Pod", Namespace: ns, Name: pod.Name, UID: pod.UID},
		Type:           corev1.EventTypeWarning, Reason: "BackOff", Message: "Back-off restarting", Count: 3, LastTimestamp: metav1.Now(),
	}, create)
	must(t, err)
	kwait := buildKwait(t, ns)

	p := kwait.start(cluster.Kubeconfig(), "deployment", "web", "--timeout", "3s")
	p.MustEnd(2, 10*time.Second)
	p.Expect("    Pod web-1-a, container main: CrashLoopBackOff: back-off 40s (restarts: 4) (last exit: OOMKilled, exit code 137)\n",
		"    Warning for Pod web-1-a, ", " ago, 3 times: BackOff: Back-off restarting\n")
	if strings.Contains(p.Output.String(), "secret") {
		t.Errorf("it printed the message of the container:\n%s", p.Output)
	}

	p = kwait.start(cluster.Kubeconfig(), "deployment", "web", "--timeout", "3s", "-o", "json")
	p.MustEnd(2, 10*time.Second)
	lines := strings.Split(strings.TrimSpace(p.Output.String()), "\n")
	var result struct {
		Result  string
		Missing []struct {
			Name         string
			Pods, Events []struct{ Name, Reason string }
		}
	}
	must(t, json.Unmarshal([]byte(lines[len(lines)-1]), &result))
	if r := result; r.Result != "timeout" || len(r.Missing) != 1 || r.Missing[0].Name != "web" ||
		len(r.Missing[0].Pods) != 1 || r.Missing[0].Pods[0].Reason != "CrashLoopBackOff" ||
		len(r.Missing[0].Events) != 1 || r.Missing[0].Events[0].Name != "web-1-a" {
		t.Errorf("the last line is %s", lines[len(lines)-1])
	}

	// The user is not allowed to list events.
	john, err := cluster.AddUser(context.Background(), "kwait-john", rbacv1.PolicyRule{
		APIGroups: []string{"", "apps"}, Resources: []string{"pods", "replicasets", "deployments"}, Verbs: []string{"get", "list", "watch"},
	})
	must(t, err)
	p = kwait.start(john.Kubeconfig(), "deployment", "web", "--timeout", "3s")
	p.MustEnd(2, 10*time.Second)
	p.Expect("    Pod web-1-a, container main: CrashLoopBackOff", "events are not shown: ", `User "kwait-john" cannot list resource "events"`)
}

// kwaitDeployment is complete enough for a real API server.
func kwaitDeployment() *appsv1.Deployment {
	labels := map[string]string{"app": "web"}
	return &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Name: "web"},
		Spec: appsv1.DeploymentSpec{
			Selector: &metav1.LabelSelector{MatchLabels: labels},
			Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels}, Spec: newPod("").Spec},
		},
	}
}
