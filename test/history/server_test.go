// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package history_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sort"
	"strconv"
	"strings"
	"sync"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/apiary-go/apiary/store"
)

// eraSpan is how many versions an era has. Each era lies below the one before it: the
// versions of a server that begins anew go back. No version is used for two states.
const eraSpan = 1_000_000

// change is one line of the history: from it on, the key is in this state.
type change struct {
	version int64
	key     store.Key
	uid     types.UID
	red     bool
	gone    bool
}

// history is what an API server did with one collection, from the beginning.
type history struct {
	mu      sync.Mutex
	log     []change
	byKey   map[store.Key][]int // indexes of log
	byState map[int64]int       // by version
	eras    []int               // index of the first change of each
	version int64
	horizon int64 // what is older is compacted
	uids    int
	changed chan struct{}
}

func newHistory() *history {
	h := &history{byKey: map[store.Key][]int{}, byState: map[int64]int{}, eras: []int{0}, changed: make(chan struct{})}
	h.version = h.base()
	h.horizon = h.version
	return h
}

// base is the version that the current era begins after.
func (h *history) base() int64 { return int64(1000-len(h.eras)) * eraSpan }

// eraOf returns the era of a version.
func eraOf(version int64) int { return 999 - int(version/eraSpan) }

// write appends a change. The caller holds the lock.
func (h *history) write(c change) {
	h.version++
	c.version = h.version
	h.byKey[c.key] = append(h.byKey[c.key], len(h.log))
	h.byState[c.version] = len(h.log)
	h.log = append(h.log, c)
}

// announce wakes the watches. The caller holds the lock.
func (h *history) announce() {
	close(h.changed)
	h.changed = make(chan struct{})
}

// last returns the state that the key has after the first n changes.
func (h *history) last(key store.Key, n int) (c change, index int, ok bool) {
	of := h.byKey[key]
	i := sort.SearchInts(of, n)
	if i == 0 {
		return c, 0, false
	}
	index = of[i-1]
	return h.log[index], index, !h.log[index].gone
}

// at returns how many changes there were at a version.
func (h *history) at(version int64) int {
	era := min(max(0, eraOf(version)), len(h.eras)-1)
	end := len(h.log)
	if era+1 < len(h.eras) {
		end = h.eras[era+1]
	}
	log := h.log[h.eras[era]:end]
	n, _ := slices.BinarySearchFunc(log, version+1, func(c change, v int64) int { return int(c.version - v) })
	return h.eras[era] + n
}

// state returns the indexes of the states after the first n changes, ordered by key.
func (h *history) state(n int) []int {
	var all []int
	for key := range h.byKey {
		if _, i, ok := h.last(key, n); ok {
			all = append(all, i)
		}
	}
	slices.SortFunc(all, func(a, b int) int { return h.log[a].key.Compare(h.log[b].key) })
	return all
}

// length returns how many changes there are.
func (h *history) length() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.log)
}

// permanent is a key that is never deleted.
func permanent(key store.Key) bool { return key.Name[0] == 'p' }

// populate creates some objects.
func (h *history) populate(rng *rand.Rand, keys int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for i := range keys {
		h.write(change{key: store.Key{Namespace: "ns", Name: fmt.Sprintf("p%d", i)}, uid: h.uid(), red: rng.IntN(2) == 0})
	}
}

func (h *history) uid() types.UID {
	h.uids++
	return types.UID("u" + strconv.Itoa(h.uids))
}

// mutate creates, changes, deletes or creates anew an object at random. Some versions
// belong to other collections.
func (h *history) mutate(rng *rand.Rand, keys int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	defer h.announce()
	h.version += rng.Int64N(3)
	kind := []string{"p", "k", "k"}[rng.IntN(3)]
	key := store.Key{Namespace: "ns", Name: kind + strconv.Itoa(rng.IntN(keys))}
	c, _, exists := h.last(key, len(h.log))
	n := rng.IntN(10)
	if permanent(key) {
		n = 9
	}
	switch {
	case !exists:
		h.write(change{key: key, uid: h.uid(), red: n%2 == 0})
	case n < 2:
		c.gone = true
		h.write(c)
	case n == 2: // recreated
		c.gone = true
		h.write(c)
		h.write(change{key: key, uid: h.uid(), red: c.red})
	default:
		c.red = rng.IntN(3) == 0
		h.write(c)
	}
}

// compact forgets the history up to now.
func (h *history) compact() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.horizon = h.version
}

// restart makes the versions begin anew. The server has the state of some time ago, with
// the same UIDs or with others. What is permanent stays the same object.
func (h *history) restart(rng *rand.Rand) {
	h.mu.Lock()
	defer h.mu.Unlock()
	defer h.announce()
	n := max(0, len(h.log)-rng.IntN(30))
	keeps := rng.IntN(2) == 0
	now := len(h.log)
	h.eras = append(h.eras, now)
	h.version = h.base()
	for _, key := range slices.SortedFunc(maps.Keys(h.byKey), store.Key.Compare) {
		then, _, existed := h.last(key, n)
		current, _, exists := h.last(key, now)
		switch {
		case permanent(key) && exists:
			h.write(current)
		case existed && !keeps:
			h.write(change{key: key, uid: h.uid(), red: then.red})
		case existed:
			h.write(then)
		case exists:
			current.gone = true
			h.write(current)
		}
	}
	h.horizon = h.version
}

// object returns the object of a state.
func object(c change) *corev1.ConfigMap {
	version := strconv.FormatInt(c.version, 10)
	color := "green"
	if c.red {
		color = "red"
	}
	return &corev1.ConfigMap{
		TypeMeta: metav1.TypeMeta{Kind: "ConfigMap", APIVersion: "v1"},
		ObjectMeta: metav1.ObjectMeta{
			Namespace: c.key.Namespace, Name: c.key.Name, UID: c.uid, ResourceVersion: version,
			Labels: map[string]string{"color": color},
		},
		Data: map[string]string{"version": version},
	}
}

func isRed(obj *corev1.ConfigMap) bool { return obj.Labels["color"] == "red" }

// parse returns the number of a version, 0 if there is none.
func parse(version string) int64 {
	n, err := strconv.ParseInt(version, 10, 64)
	if err != nil {
		return 0
	}
	return n
}

// differs compares objects with the state after n changes.
func (h *history) differs(n int, has map[store.Key]store.Meta, red bool) string {
	h.mu.Lock()
	defer h.mu.Unlock()
	var differ []string
	had := 0
	for _, i := range h.state(n) {
		c := h.log[i]
		if red && !c.red {
			continue
		}
		had++
		is, ok := has[c.key]
		switch {
		case !ok:
			differ = append(differ, fmt.Sprintf("it lacks %v", c))
		case is.UID != c.uid || parse(is.Version) != c.version:
			differ = append(differ, fmt.Sprintf("it has %v, the server %v", is, c))
		}
	}
	if len(differ) == 0 && had != len(has) {
		differ = append(differ, fmt.Sprintf("it has %d objects, the server %d", len(has), had))
	}
	return strings.Join(differ, "; ")
}
