// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package history_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"syscall"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/apiary-go/apiary/internal/servertest"
)

// goesRound marks a token whose list begins anew after its last page.
const goesRound = "/round"

// list serves a page.
func (p *proxy) list(r *http.Request) (*http.Response, error) {
	q := r.URL.Query()
	limit, _ := strconv.Atoi(q.Get("limit"))
	if limit == 0 {
		panic("a list without a limit: " + r.URL.RawQuery)
	}
	list := &corev1.ConfigMapList{TypeMeta: metav1.TypeMeta{Kind: "ConfigMapList", APIVersion: "v1"}}
	token, rounds := strings.CutSuffix(q.Get("continue"), goesRound)
	if token != "" {
		switch {
		case p.chance(30) && p.fault("token expired"):
			return p.status(r, 410, "")
		case p.chance(40) && p.fault("page refused"):
			return p.status(r, 503, "")
		case p.chance(40) && p.fault("page of another kind"):
			return p.refuse(r, "another kind")
		case p.chance(40) && p.fault("page that is none"):
			return p.refuse(r, "{}")
		}
	}
	if refused := p.page(list, q.Get("resourceVersion"), token, limit, rounds); refused != nil {
		return p.encoded(r, int(refused.Code), refused)
	}
	if rounds || list.Continue != "" && p.chance(60) && p.fault("pages go round") {
		list.Continue += goesRound
	}
	if p.versioned() && p.chance(60) && p.fault("list without version") {
		list.ResourceVersion = ""
	}
	return p.body(r, encode(accepted(r), list)), nil
}

// page fills in a page. It returns why there is none.
func (p *proxy) page(list *corev1.ConfigMapList, from, token string, limit int, rounds bool) *metav1.Status {
	h := p.h
	h.mu.Lock()
	defer h.mu.Unlock()
	version, after := h.version, ""
	if token != "" {
		v, name, _ := strings.Cut(token, ":")
		version, after = parse(v), name
		if version < h.horizon || version > h.version {
			return statusOf(410)
		}
	} else if least := parse(from); least > version {
		return tooLarge()
	} else if least >= h.horizon && least < version && p.chance(2) {
		version = least + int64(p.roll(int(version-least))) // a server that lags behind
	}
	list.ResourceVersion = strconv.FormatInt(version, 10)
	all := h.state(h.at(version))
	for _, i := range all {
		c := h.log[i]
		if c.key.Name <= after {
			continue
		}
		if len(list.Items) == limit {
			list.Continue = fmt.Sprintf("%d:%s", version, list.Items[limit-1].Name)
			break
		}
		list.Items = append(list.Items, *object(c))
	}
	if rounds && list.Continue == "" {
		list.Continue = fmt.Sprintf("%d:", version) // from the beginning
	}
	return nil
}

// body answers with bytes, which may not arrive.
func (p *proxy) body(r *http.Request, data []byte) *http.Response {
	mediaType := accepted(r)
	half := data[:p.roll(len(data))]
	switch {
	case p.chance(60) && p.fault("half a body"):
		return servertest.Answer(r, 200, mediaType, bytes.NewReader(half))
	case p.chance(60) && p.fault("reset within a body"):
		return servertest.Answer(r, 200, mediaType, io.MultiReader(bytes.NewReader(half), failing(func() error { return syscall.ECONNRESET })))
	case p.chance(100) && p.fault("body that stops"):
		ctx := r.Context()
		return servertest.Answer(r, 200, mediaType, io.MultiReader(bytes.NewReader(half), failing(func() error {
			<-ctx.Done()
			return ctx.Err()
		})))
	case p.chance(40) && p.fault("slow body"):
		ctx, d := r.Context(), time.Duration(p.roll(120))*time.Second
		return servertest.Answer(r, 200, mediaType, io.MultiReader(bytes.NewReader(half), failing(func() error {
			if err := p.wait(ctx, d); err != nil {
				return err
			}
			return io.EOF
		}), bytes.NewReader(data[len(half):])))
	}
	if r.Context().Err() == nil {
		p.known(true)
	}
	return servertest.Answer(r, 200, mediaType, bytes.NewReader(data))
}

func (p *proxy) versioned() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.good
}

// failing is a reader that fails with what the function returns.
type failing func() error

func (f failing) Read([]byte) (int, error) { return 0, f() }

// pipe is the body of a watch. Its context ends when it is closed.
type pipe struct {
	*io.PipeReader
	cancel context.CancelFunc
}

func (b *pipe) Close() error {
	b.cancel()
	return b.PipeReader.Close()
}
