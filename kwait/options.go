// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/pflag"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/apiary-go/apiary/status"
)

// options holds the flags of the command itself. They are no flags of the hive, which
// would read them from environment variables such as NAMESPACE and TIMEOUT.
type options struct {
	files         []string
	selector      string
	all           bool
	namespace     string
	allNamespaces bool

	until    string
	timeout  time.Duration
	failFast bool
	output   string

	failReasons   []string
	jobs          string
	podWaiting    []string
	unboundClaims bool
	paused        bool
	loadBalancers bool
	wellKnown     bool
	strict        bool
}

const (
	jobsCompleted = "completed"
	jobsStarted   = "started"

	outputText = "text"
	outputJSON = "json"
)

func (o *options) flags(flags *pflag.FlagSet) {
	flags.SortFlags = false
	flags.StringArrayVarP(&o.files, "filename", "f", nil, "`FILE` of manifests in YAML or JSON, a directory of such files, or - for standard input; can be repeated")
	flags.StringVarP(&o.selector, "selector", "l", "", "Label selector of the objects, such as app=web; the arguments are then types")
	flags.BoolVar(&o.all, "all", false, "All objects of the types in the namespace")
	flags.StringVarP(&o.namespace, "namespace", "n", "", "Namespace of objects without one; default: that of the kubeconfig context, or \"default\"")
	flags.BoolVarP(&o.allNamespaces, "all-namespaces", "A", false, "With -l or --all: objects of all namespaces")
	flags.StringVar(&o.until, "for", untilCurrent, "What to wait for: current, deleted, or condition=NAME[=VALUE]; VALUE is True by default")
	flags.DurationVar(&o.timeout, "timeout", 5*time.Minute, "How long to wait; 0: forever")
	flags.BoolVar(&o.failFast, "fail-fast", true, "End as soon as an object is Failed, without waiting for it to recover; no effect with --for deleted")
	flags.StringSliceVar(&o.failReasons, "fail-reasons", nil, "`REASONS` for which an object that cannot be read is Failed: Forbidden, KindNotInstalled or RuleError")
	flags.StringVarP(&o.output, "output", "o", outputText, "Output format: text, or json for a line of JSON per change and for the result")
	flags.StringVar(&o.jobs, "jobs", jobsCompleted, "When a Job is Current: completed or started")
	flags.StringSliceVar(&o.podWaiting, "pod-waiting", nil, "`REASONS` of a waiting container that make a Pod Failed, such as CrashLoopBackOff,ImagePullBackOff; \"\" for none; default: those of package status")
	flags.BoolVar(&o.unboundClaims, "unbound-claims", false, "A Pending PersistentVolumeClaim is Current: it may wait for its first Pod")
	flags.BoolVar(&o.paused, "paused-deployments", false, "A paused Deployment whose Pods are updated and available is Current")
	flags.BoolVar(&o.loadBalancers, "load-balancers", false, "A Service of type LoadBalancer and an Ingress are InProgress until they have an address")
	flags.BoolVar(&o.wellKnown, "well-known", false, "Rules for kinds of Gateway API, cert-manager, Cluster API, Crossplane and Argo CD, and for HorizontalPodAutoscalers")
	flags.BoolVar(&o.strict, "strict", false, "An object that its controller has not seen yet is InProgress, not Current")
}

func (o *options) validate() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if _, err := parseGoal(o.until); err != nil {
		bad("--for=%s: %w", o.until, err)
	}
	if o.timeout < 0 {
		bad("--timeout=%s: must not be negative", o.timeout)
	}
	if o.output != outputText && o.output != outputJSON {
		bad("--output=%s: want %s or %s", o.output, outputText, outputJSON)
	}
	if o.jobs != jobsCompleted && o.jobs != jobsStarted {
		bad("--jobs=%s: want %s or %s", o.jobs, jobsCompleted, jobsStarted)
	}
	if o.namespace != "" {
		if err := validateNamespace(o.namespace); err != nil {
			bad("--namespace=%w", err)
		}
	}
	if _, err := labels.Parse(o.selector); err != nil {
		bad("--selector=%s: %w", o.selector, err)
	}
	if o.selector != "" && o.all {
		bad("--selector and --all are both set: leave one out")
	}
	if o.allNamespaces && o.selector == "" && !o.all {
		bad("--all-namespaces needs --selector or --all")
	}
	if slices.ContainsFunc(o.podWaiting, func(reason string) bool { return strings.TrimSpace(reason) == "" }) {
		bad("--pod-waiting=%s: a reason is empty", strings.Join(o.podWaiting, ","))
	}
	for _, reason := range o.failReasons {
		if !slices.Contains([]status.Reason{status.Forbidden, status.KindNotInstalled, status.RuleError}, status.Reason(reason)) {
			bad("--fail-reasons=%s: want %s, %s or %s", reason, status.Forbidden, status.KindNotInstalled, status.RuleError)
		}
	}
	return errors.Join(errs...)
}

// apply sets the rules that the flags ask for.
func (o *options) apply(rules *status.Rules) {
	if o.jobs == jobsCompleted {
		rules.Jobs = status.JobCompleted
	}
	rules.PodWaiting = o.podWaiting // nil without the flag, and empty but not nil for ""
	rules.UnboundClaims = o.unboundClaims
	rules.PausedDeployments = o.paused
	rules.LoadBalancers = o.loadBalancers
	rules.WellKnown = o.wellKnown
	rules.Strict = o.strict
}
