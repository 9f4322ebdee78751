// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package status

import "time"

// ruleForService is the rule of kstatus. With LoadBalancers, a Service of that type must
// have an address.
func (r *Rules) ruleForService(o *ruleObject, _ time.Time) (Result, error) {
	result, err := ruleFromKstatus(o.obj, serviceFields...)
	if err != nil || result.Status != Current || o.text(o.in(o.top(), "spec"), "type") != "LoadBalancer" {
		return result, err
	}
	return r.withAddress(o, result)
}

// ruleForIngress is the rule for other kinds. With LoadBalancers, an Ingress must have an
// address.
func (r *Rules) ruleForIngress(o *ruleObject, _ time.Time) (Result, error) {
	result, err := r.ruleForOthers(o)
	if err != nil || result.Status != Current {
		return result, err
	}
	return r.withAddress(o, result)
}

// withAddress returns result, or InProgress if the object must have an address and has
// none.
func (r *Rules) withAddress(o *ruleObject, result Result) (Result, error) {
	if r.LoadBalancers && len(o.list(o.in(o.status, "loadBalancer"), "ingress")) == 0 {
		result = Result{Status: InProgress, Message: "no address of a load balancer yet"}
	}
	return result, o.err
}

// ruleForClaim is the rule of kstatus, for which a Lost claim is InProgress.
func (r *Rules) ruleForClaim(o *ruleObject, _ time.Time) (Result, error) {
	switch phase := o.text(o.status, "phase"); {
	case r.UnboundClaims && phase == "Pending":
		return Result{Status: Current, Message: "PVC is Pending, and UnboundClaims accepts that"}, nil
	case phase == "Lost":
		return Result{Status: Failed, Message: "PVC is Lost: its volume does not exist any more"}, nil
	}
	return ruleFromKstatus(o.obj, claimFields...)
}

// ruleForBudget is the rule of kstatus for a budget that the controller has computed.
func ruleForBudget(r *Rules, o *ruleObject, now time.Time) (Result, error) {
	if c := o.conditions.of("DisruptionAllowed"); c.reason == "SyncFailed" {
		return Result{Status: InProgress, Message: c.text()}, nil
	}
	result, err := ruleForFixed(r, o, now)
	if err != nil {
		return result, err
	}
	return o.seen(result)
}
