// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package record

import (
	"context"
	"errors"
	"io"
	"strings"
	"syscall"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/apiary-go/apiary/informer"
	"github.com/apiary-go/apiary/internal/redact"
	"github.com/apiary-go/apiary/store"
)

// failure is a recorded error. A replay returns it: it has the same text and the same
// [informer.Cause] as the original one.
type failure struct {
	Text   string                `json:"text"`
	Cause  informer.Cause        `json:"cause,omitempty"`
	Status *metav1.Status        `json:"status,omitempty"`
	Answer *informer.AnswerError `json:"answer,omitempty"`
	EOF    bool                  `json:"eof,omitempty"` // it was io.EOF itself
}

// failureOf records an error. The text and the status have no content of objects and no page.
func failureOf(err error) *failure {
	f := &failure{Text: redact.Text(err.Error()), Cause: informer.CauseOf(err), EOF: err == io.EOF}
	if answer := (*informer.AnswerError)(nil); errors.As(err, &answer) {
		f.Answer = answer
	}
	var known apierrors.APIStatus
	if !errors.As(err, &known) {
		return f
	}
	status := known.Status()
	f.Status = status.DeepCopy()
	f.Status.Message = redact.Text(status.Message)
	if f.Status.Details == nil {
		return f
	}
	for i, cause := range f.Status.Details.Causes {
		page := cause.Type == metav1.CauseTypeUnexpectedServerResponse && cause.Message != ""
		f.Status.Details.Causes[i].Message = redact.Text(cause.Message)
		if page {
			f.Status.Details.Causes[i].Message = ""
			f.Status.Message = "the response is no Status"
			before, _, _ := strings.Cut(err.Error(), status.Message)
			f.Text = redact.Text(before) + f.Status.Message
		}
	}
	return f
}

// err returns the error of a replay.
func (f *failure) err() error {
	if f.EOF {
		return io.EOF
	}
	return f
}

// Error implements error.
func (f *failure) Error() string { return f.Text }

// Unwrap returns an error that the Reflector classifies as the original one.
func (f *failure) Unwrap() error {
	var same []error
	if f.Status != nil {
		same = append(same, &apierrors.StatusError{ErrStatus: *f.Status})
	}
	if f.Answer != nil {
		same = append(same, f.Answer)
	}
	switch f.Cause {
	case informer.CauseDecoding:
		same = append(same, &informer.DecodingError{Err: errors.New(f.Text)})
	case informer.CauseNotInstalled:
		same = append(same, &meta.NoKindMatchError{})
	case informer.CauseRefused:
		same = append(same, syscall.ECONNREFUSED)
	case informer.CauseConnection:
		same = append(same, syscall.ECONNRESET)
	case informer.CauseTimeout:
		same = append(same, context.DeadlineExceeded)
	case informer.CauseCanceled:
		same = append(same, context.Canceled)
	case informer.CauseCredentials:
		same = append(same, errors.New("getting credentials: "+f.Text))
	case informer.CauseSilent:
		same = append(same, &informer.IdleTimeoutError{})
	case informer.CauseSink:
		same = append(same, store.ErrResync)
	case informer.CauseNotAPIServer:
		same = append(same, &informer.AnswerError{})
	}
	for _, err := range same {
		if informer.CauseOf(err) == f.Cause {
			return err
		}
	}
	return nil
}
