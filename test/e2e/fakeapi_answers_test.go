// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package e2e

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"k8s.io/client-go/rest"
)

// conformanceSide sends calls to one of the two servers.
type conformanceSide struct {
	client    *http.Client
	host, ns  string
	saved     map[string]map[string]string
	versions  map[string]string // real ones, to their names
	uids      map[string]string
	generated map[string]string
}

func newSide(t *testing.T, config *rest.Config, ns string) *conformanceSide {
	t.Helper()
	config = rest.CopyConfig(config)
	config.QPS = -1
	client, err := rest.HTTPClientFor(config)
	must(t, err)
	t.Cleanup(client.CloseIdleConnections)
	return &conformanceSide{client: client, host: strings.TrimSuffix(config.Host, "/"), ns: ns,
		saved: map[string]map[string]string{}, versions: map[string]string{}, uids: map[string]string{}, generated: map[string]string{}}
}

var placeholder = regexp.MustCompile(`\$\{(\w+)\.(\w+)\}`)

func (s *conformanceSide) fill(text string) string {
	text = placeholder.ReplaceAllStringFunc(text, func(p string) string {
		m := placeholder.FindStringSubmatch(p)
		return s.saved[m[1]][m[2]]
	})
	return strings.ReplaceAll(text, "$ns", s.ns)
}

// sent is a call that was sent, and its answer.
type sent struct {
	call conformanceCall
	code int
	body []byte
	err  error
}

func (s *conformanceSide) send(ctx context.Context, call conformanceCall) (out sent) {
	out.call = call
	req, err := http.NewRequestWithContext(ctx, call.method, s.host+"/"+s.fill(call.path), strings.NewReader(s.fill(call.body)))
	if err != nil {
		out.err = err
		return out
	}
	req.Header.Set("Content-Type", cmp.Or(call.contentType, "application/json"))
	req.Header.Set("Accept", cmp.Or(call.accept, "application/json"))
	resp, err := s.client.Do(req)
	if err != nil {
		out.err = err
		return out
	}
	defer resp.Body.Close()
	out.code = resp.StatusCode
	out.body, out.err = io.ReadAll(resp.Body)
	return out
}

// answer returns an answer as JSON without what differs between servers. The answers must be
// passed in the order of the calls.
func (s *conformanceSide) answer(t *testing.T, sent sent) string {
	t.Helper()
	must(t, sent.err)
	call, body := sent.call, sent.body
	answer := map[string]any{"code": sent.code}
	var docs []any
	for decoder := json.NewDecoder(bytes.NewReader(body)); ; {
		var doc map[string]any
		if err := decoder.Decode(&doc); err != nil {
			if err != io.EOF {
				answer["text"] = true
			}
			break
		}
		if call.save != "" {
			meta, _ := doc["metadata"].(map[string]any)
			s.saved[call.save] = map[string]string{"rv": str(meta["resourceVersion"]), "uid": str(meta["uid"]), "continue": str(meta["continue"])}
		}
		if doc = s.normal(doc); doc != nil {
			docs = append(docs, doc)
		}
	}
	if sent.code == http.StatusNotFound && !bytes.Contains(body, []byte(`"name"`)) {
		docs = nil // the path is not served, which is said as text or as a Status
		delete(answer, "text")
	}
	if len(docs) > 0 {
		answer["docs"] = docs
	}
	out, err := json.Marshal(answer)
	must(t, err)
	return string(out)
}

func str(v any) string {
	s, _ := v.(string)
	return s
}

func named(names map[string]string, prefix, value string) string {
	if _, ok := names[value]; !ok {
		names[value] = fmt.Sprint(prefix, len(names)+1)
	}
	return names[value]
}

// normal returns an object, a list, a Status or an event without what differs.
func (s *conformanceSide) normal(doc map[string]any) map[string]any {
	if object, ok := doc["object"].(map[string]any); ok && doc["type"] != nil {
		if doc["type"] == "BOOKMARK" {
			meta, _ := object["metadata"].(map[string]any)
			if meta["annotations"] == nil {
				return nil // at any time
			}
			return map[string]any{"type": doc["type"], "annotations": meta["annotations"]}
		}
		return map[string]any{"type": doc["type"], "object": s.normal(object)}
	}
	if doc["kind"] == "Status" {
		out := map[string]any{"code": doc["code"], "status": doc["status"]}
		if doc["code"] != 500. {
			out["reason"] = doc["reason"]
		}
		// Answers to requests that are malformed say more or less about the object.
		malformed := slices.Contains([]any{400., 405., 415., 500.}, doc["code"])
		if details, ok := doc["details"].(map[string]any); ok && !malformed {
			// The kind is that of the object or the name of the resource.
			out["name"], out["group"] = details["name"], details["group"]
			if uid := str(details["uid"]); uid != "" {
				out["uid"] = named(s.uids, "uid", uid)
			}
			var causes []string
			for _, c := range list(details["causes"]) {
				cause := c.(map[string]any)
				causes = append(causes, fmt.Sprint(cause["reason"], " ", cause["field"]))
			}
			slices.Sort(causes)
			out["causes"] = fmt.Sprint(slices.Compact(causes))
		}
		return out
	}
	meta, _ := doc["metadata"].(map[string]any)
	if items, ok := doc["items"].([]any); ok {
		for i, item := range items {
			items[i] = s.normal(item.(map[string]any))
		}
		delete(meta, "resourceVersion")
		for _, name := range []string{"continue", "remainingItemCount"} {
			if meta[name] != nil {
				meta[name] = "set"
			}
		}
		return doc
	}
	delete(meta, "managedFields")
	delete(meta, "selfLink")
	for _, name := range []string{"creationTimestamp", "deletionTimestamp"} {
		if meta[name] != nil {
			meta[name] = "set"
		}
	}
	if status, ok := doc["status"].(map[string]any); ok {
		for _, c := range list(status["conditions"]) {
			if condition := c.(map[string]any); condition["lastTransitionTime"] != nil {
				condition["lastTransitionTime"] = "set"
			}
		}
	}
	if v := str(meta["resourceVersion"]); v != "" {
		meta["resourceVersion"] = named(s.versions, "version", v)
	}
	if v := str(meta["uid"]); v != "" {
		meta["uid"] = named(s.uids, "uid", v)
	}
	if prefix := str(meta["generateName"]); prefix != "" && len(str(meta["name"])) == len(prefix)+5 {
		meta["name"] = named(s.generated, prefix, str(meta["name"]))
	}
	return doc
}

func list(v any) []any {
	l, _ := v.([]any)
	return l
}

// answersDiffer compares the answers. Outside metadata, fields that only the real server sets
// are defaults, and do not count.
func answersDiffer(realAnswer, fakeAnswer string) string {
	var a, b any
	if json.Unmarshal([]byte(realAnswer), &a) != nil || json.Unmarshal([]byte(fakeAnswer), &b) != nil {
		return "not JSON"
	}
	var out []string
	compare("", a, b, false, &out)
	if len(out) > 8 {
		out = append(out[:8], "…")
	}
	return strings.Join(out, "\n")
}

func compare(path string, a, b any, defaults bool, out *[]string) {
	// An empty list is like none.
	for _, v := range []*any{&a, &b} {
		if l, ok := (*v).([]any); ok && len(l) == 0 {
			*v = nil
		}
	}
	switch x := a.(type) {
	case map[string]any:
		y, ok := b.(map[string]any)
		if !ok {
			break
		}
		keys := map[string]bool{}
		for k := range x {
			keys[k] = true
		}
		for k := range y {
			keys[k] = true
		}
		for k := range keys {
			if x[k] != nil && y[k] == nil && defaults {
				continue
			}
			compare(path+"."+k, x[k], y[k], defaults || k == "spec" || k == "status" && y["code"] == nil, out)
		}
		return
	case []any:
		y, ok := b.([]any)
		if !ok {
			break
		}
		if len(x) != len(y) {
			*out = append(*out, fmt.Sprintf("%s: %d items, fakeapi has %d", path, len(x), len(y)))
		}
		for i := range min(len(x), len(y)) {
			compare(fmt.Sprintf("%s[%d]", path, i), x[i], y[i], defaults, out)
		}
		return
	}
	if !reflect.DeepEqual(a, b) {
		*out = append(*out, fmt.Sprintf("%s: %v, fakeapi has %v", path, a, b))
	}
}
