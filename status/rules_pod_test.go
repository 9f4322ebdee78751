// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package status_test

import (
	"testing"
	"time"

	"github.com/apiary-go/apiary/status"
)

// rulesCompute returns what rules say of an object.
func rulesCompute(t *testing.T, rules *status.Rules, object string, children []status.ObjectStatus, now time.Time) status.Result {
	t.Helper()
	result, err := rules.Compute(rulesObject(t, object), children, now)
	if err != nil {
		t.Fatal(err)
	}
	return result
}

const rulesPodHead = "v1 Pod "

func TestRulePod(t *testing.T) {
	rulesCheck(t, rulesPodHead, []rulesRow{
		{"no phase", ``, status.InProgress, "Pod phase not available"},
		{"succeeded", `{status: {phase: Succeeded}}`, status.Current, "Pod has completed successfully"},
		{"pending", `{status: {phase: Pending}}`, status.InProgress, "Pod is in the Pending phase"},
		{"pending, not scheduled for another reason", `{status: {phase: Pending, conditions: [{type: PodScheduled, status: "False", reason: SchedulingGated}]}}`,
			status.InProgress, "Pod is in the Pending phase"},
		{"pending, waits for a good reason", `{status: {phase: Pending, containerStatuses: [{name: a, state: {waiting: {reason: ContainerCreating}}}]}}`,
			status.InProgress, "Pod is in the Pending phase"},
		{"pending, first pull failed", `{status: {phase: Pending, containerStatuses: [{name: a, state: {waiting: {reason: ErrImagePull}}}]}}`,
			status.InProgress, "Pod is in the Pending phase"},
		{"running", `{status: {phase: Running}}`, status.InProgress, "Pod is running but is not Ready"},
		{"ready", `{status: {phase: Running, conditions: [{type: Ready, status: "True"}], containerStatuses: [{name: a, state: {waiting: {reason: CrashLoopBackOff}}}]}}`,
			status.Current, "Pod is Ready"},
		{"crashes", `{status: {phase: Running, conditions: [{type: Ready, status: "False"}], containerStatuses: [` +
			`{name: a, state: {waiting: {reason: CrashLoopBackOff}}}, {name: b, state: {running: {}}}, {name: c, state: {waiting: {reason: CrashLoopBackOff}}}]}}`,
			status.Failed, "Containers in CrashLoop state: a,c"},
		{"crashed once", `{status: {phase: Running, containerStatuses: [{name: a, state: {terminated: {reason: Error}}}]}}`,
			status.InProgress, "Pod is running but is not Ready"},
	})
}

// Waiting containers by reason, phase and list of containers.
func TestRulePodWaiting(t *testing.T) {
	pod := func(phase, field, reason string) string {
		return rulesPodHead + `{status: {phase: ` + phase + `, ` + field + `: [{name: a, state: {waiting: {reason: ` + reason + `}}}]}}`
	}
	for _, phase := range []string{"Pending", "Running"} {
		for _, field := range []string{"containerStatuses", "initContainerStatuses"} {
			for _, reason := range []string{"ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull", "ImageInspectError", "CreateContainerConfigError", "CreateContainerError", "RunContainerError"} {
				want := status.Result{Status: status.Failed, Message: "Containers cannot start: a (" + reason + ")"}
				if got := rulesCompute(t, nil, pod(phase, field, reason), nil, time.Now()); got != want {
					t.Errorf("%s, %s: got %+v, want %+v", phase, field, got, want)
				}
			}
			want := status.Result{Status: status.Failed, Message: "Containers in CrashLoop state: a"}
			if got := rulesCompute(t, nil, pod(phase, field, "CrashLoopBackOff"), nil, time.Now()); got != want {
				t.Errorf("%s, %s: got %+v, want %+v", phase, field, got, want)
			}
			mine := &status.Rules{PodWaiting: []string{"PodInitializing"}}
			if got := rulesCompute(t, mine, pod(phase, field, "PodInitializing"), nil, time.Now()); got.Status != status.Failed {
				t.Errorf("%s, %s: got %+v by a reason that was given", phase, field, got)
			}
			for _, rules := range []*status.Rules{mine, {PodWaiting: []string{}}} {
				if got := rulesCompute(t, rules, pod(phase, field, "CrashLoopBackOff"), nil, time.Now()); got.Status != status.InProgress {
					t.Errorf("%s, %s: got %+v by the reasons %q", phase, field, got, rules.PodWaiting)
				}
			}
		}
	}
	both := rulesPodHead + `{status: {phase: Running, containerStatuses: [{name: b, state: {waiting: {reason: ImagePullBackOff}}}], ` +
		`initContainerStatuses: [{name: a, state: {waiting: {reason: CrashLoopBackOff}}}]}}`
	if got, want := rulesCompute(t, nil, both, nil, time.Now()).Message, "Containers cannot start: a (CrashLoopBackOff), b (ImagePullBackOff)"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// A Pod that cannot be scheduled fails 15 s after it was created, by the time that
// is given, and says when to look again until then.
func TestRulePodUnschedulable(t *testing.T) {
	const pod = rulesPodHead + `{metadata: {creationTimestamp: "2026-01-01T00:00:00Z"}, ` +
		`status: {phase: Pending, conditions: [{type: PodScheduled, status: "False", reason: Unschedulable}]}}`
	created := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	until := created.Add(15 * time.Second)
	waits := status.Result{Status: status.InProgress, Message: "Pod has not been scheduled", Recheck: until}
	fails := status.Result{Status: status.Failed, Message: "Pod could not be scheduled"}
	for _, c := range []struct {
		now  time.Time
		want status.Result
	}{
		{created.Add(-time.Hour), waits}, // a clock that is late
		{created, waits},
		{until.Add(-1), waits},
		{until, fails},
		{until.Add(time.Hour), fails},
	} {
		if got := rulesCompute(t, nil, pod, nil, c.now); got != c.want {
			t.Errorf("at %s: got %+v, want %+v", c.now, got, c.want)
		}
	}
	ageless := rulesPodHead + `{status: {phase: Pending, conditions: [{type: PodScheduled, status: "False", reason: Unschedulable}]}}`
	if got := rulesCompute(t, nil, ageless, nil, until); got != fails {
		t.Errorf("created at no time: got %+v, want %+v", got, fails)
	}
}

const rulesJobHead = "batch/v1 Job "

func TestRuleJobStarted(t *testing.T) {
	rulesCheck(t, rulesJobHead, []rulesRow{
		{"not started", ``, status.InProgress, "Job not started"},
		{"suspended", `{spec: {suspend: true}, status: {conditions: [{type: Suspended, status: "True"}]}}`, status.InProgress, "Job not started"},
		{"running", `{status: {startTime: "2026-01-01T00:00:00Z", succeeded: 1, active: 2, failed: 3}}`, status.Current, "Job in progress. success:1, active: 2, failed: 3"},
		{"complete", `{spec: {completions: 4}, status: {succeeded: 4, conditions: [{type: Complete, status: "True"}]}}`, status.Current, "Job Completed. succeeded: 4/4"},
		{"as many as at once", `{spec: {parallelism: 3}, status: {succeeded: 3, conditions: [{type: Complete, status: "True"}]}}`, status.Current, "Job Completed. succeeded: 3/3"},
		{"failed", `{spec: {completions: 4}, status: {failed: 2, conditions: [{type: Complete, status: "False"}, {type: Failed, status: "True"}]}}`, status.Failed, "Job Failed. failed: 2/4"},
	})
}

func TestRuleJobCompleted(t *testing.T) {
	rules := &status.Rules{Jobs: status.JobCompleted}
	const running = `startTime: "2026-01-01T00:00:00Z", active: 1`
	for _, row := range []rulesRow{
		{"not started", ``, status.InProgress, "Job not started"},
		{"running", `{status: {` + running + `}}`, status.InProgress, "Job in progress. success:0, active: 1, failed: 0"},
		{"to be suspended", `{spec: {suspend: true}, status: {` + running + `}}`, status.InProgress, "Job is suspended"},
		{"suspended", `{status: {conditions: [{type: Suspended, status: "True"}]}}`, status.InProgress, "Job is suspended"},
		{"resumed", `{spec: {suspend: false}, status: {` + running + `, conditions: [{type: Suspended, status: "False"}]}}`, status.InProgress, "Job in progress. success:0, active: 1, failed: 0"},
		{"about to complete", `{status: {` + running + `, conditions: [{type: SuccessCriteriaMet, status: "True"}]}}`, status.Current, "Job has met its success criteria. succeeded: 0/1"},
		{"about to fail", `{status: {` + running + `, failed: 1, conditions: [{type: FailureTarget, status: "True"}]}}`, status.Failed, "Job is about to fail. failed: 1/1"},
		{"complete after the announcement", `{status: {succeeded: 1, conditions: [{type: SuccessCriteriaMet, status: "True"}, {type: Complete, status: "True"}]}}`, status.Current, "Job Completed. succeeded: 1/1"},
		{"failed after the announcement", `{status: {failed: 1, conditions: [{type: FailureTarget, status: "True"}, {type: Failed, status: "True"}]}}`, status.Failed, "Job Failed. failed: 1/1"},
		{"complete", `{spec: {suspend: true}, status: {succeeded: 1, conditions: [{type: Complete, status: "True"}]}}`, status.Current, "Job Completed. succeeded: 1/1"},
		{"failed", `{status: {failed: 1, conditions: [{type: Failed, status: "True"}]}}`, status.Failed, "Job Failed. failed: 1/1"},
	} {
		t.Run(row.name, func(t *testing.T) {
			want := status.Result{Status: row.status, Message: row.message}
			if got := rulesCompute(t, rules, rulesJobHead+row.object, nil, time.Now()); got != want {
				t.Errorf("got %+v, want %+v", got, want)
			}
		})
	}
}
