// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package informer

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"syscall"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/apiary-go/apiary/store"
)

// Cause is the class of an error of a list or a watch. The set is small and closed, for
// labels of metrics. [CauseOf] returns it.
type Cause string

const (
	CauseNone         Cause = ""                   // no error
	CauseCanceled     Cause = "canceled"           // stopped
	CauseForbidden    Cause = "forbidden"          // 403: the identity lacks the verb on the resource
	CauseUnauthorized Cause = "unauthorized"       // 401: the server does not know the identity
	CauseCredentials  Cause = "credentials"        // an exec plugin or a token file gives no credentials; no request was sent
	CauseNotInstalled Cause = "not installed"      // 404, no match: the server has no such kind
	CauseNotSupported Cause = "not supported"      // 405: the server does not offer the verb for the kind
	CauseRefused      Cause = "connection refused" // no server listens at the address
	CauseConnection   Cause = "connection"         // reset, unexpected EOF, no route, TLS, name not resolved
	CauseNotAPIServer Cause = "not an API server"  // a sign-in page, text or nothing in place of an API server's answer
	CauseSilent       Cause = "silent"             // no byte within the idle timeout
	CauseTimeout      Cause = "timeout"            // a time limit of the server or the client has passed
	CauseThrottled    Cause = "throttled"          // 429
	CauseExpired      Cause = "expired"            // 410, or a resource version that is too large
	CauseServer       Cause = "server"             // 5xx
	CauseRejected     Cause = "rejected"           // any other 4xx
	CauseDecoding     Cause = "decoding"           // a response or an object cannot be decoded, or a transform failed
	CauseSink         Cause = "sink"               // the sink or a handler returned an error
	CauseClosed       Cause = "closed"             // the server ended the watch in an orderly way
	CauseUnknown      Cause = "unknown"
)

// CauseOf returns the class of an error of a list or a watch, also if it is wrapped. An error
// of a sink or a handler is [CauseSink], whatever it wraps: it can come from another server.
func CauseOf(err error) Cause {
	if err == nil {
		return CauseNone
	}
	var (
		sink     *SinkError
		handler  *HandlerError
		decoding *DecodingError
		silence  *SilenceError
		full     *store.FullError
		answer   *AnswerError
		format   runtime.NegotiateError // of client-go: no decoder for the content type
		strange  *apierrors.UnexpectedObjectError
		status   apierrors.APIStatus
	)
	switch {
	case errors.As(err, &sink), errors.As(err, &handler), errors.As(err, &full), errors.Is(err, store.ErrResync):
		return CauseSink
	case errors.As(err, &answer), errors.As(err, &format) && (format.ContentType == "" || strings.HasPrefix(format.ContentType, "text/")):
		return CauseNotAPIServer
	case errors.As(err, &decoding), errors.As(err, &strange):
		return CauseDecoding
	case errors.As(err, &silence):
		return CauseSilent
	case errors.Is(err, errNoVersion), errors.Is(err, errOlder), errors.Is(err, errOldBookmarks),
		errors.Is(err, errDisorder), errors.Is(err, errForm):
		return CauseExpired
	case errors.Is(err, errClosedEarly):
		return CauseClosed
	case errors.Is(err, errAsked), errors.Is(err, errCheck), errors.Is(err, context.Canceled):
		return CauseCanceled
	case chain(err, meta.IsNoMatchError):
		return CauseNotInstalled
	case errors.As(err, &status):
		return causeOfStatus(err, status.Status())
	}
	if cause := causeOfNetwork(err); cause != CauseUnknown {
		return cause
	}
	return causeOfText(err)
}

func causeOfStatus(err error, status metav1.Status) Cause {
	if isExpired(err) {
		return CauseExpired
	}
	// client-go reports what breaks a watch's body as a status of its own.
	if apierrors.HasStatusCause(err, "ClientWatchDecoding") {
		if cause := causeOfText(err); cause != CauseUnknown {
			return cause
		}
		return CauseDecoding
	}
	switch {
	case apierrors.IsUnauthorized(err):
		return CauseUnauthorized
	case apierrors.IsForbidden(err):
		return CauseForbidden
	case apierrors.IsNotFound(err):
		return CauseNotInstalled
	case apierrors.IsMethodNotSupported(err), status.Code == http.StatusMethodNotAllowed:
		return CauseNotSupported
	case apierrors.IsTooManyRequests(err):
		return CauseThrottled
	case apierrors.IsTimeout(err), apierrors.IsServerTimeout(err),
		status.Code == http.StatusRequestTimeout, status.Code == http.StatusGatewayTimeout:
		return CauseTimeout
	case status.Code >= 500, apierrors.IsInternalError(err), apierrors.IsServiceUnavailable(err):
		return CauseServer
	case status.Code >= 400:
		return CauseRejected
	}
	return CauseUnknown
}

func causeOfNetwork(err error) Cause {
	var (
		timeout     interface{ Timeout() bool }
		op          *net.OpError
		dns         *net.DNSError
		verify      *tls.CertificateVerificationError
		record      tls.RecordHeaderError
		alert       tls.AlertError
		authority   x509.UnknownAuthorityError
		hostname    x509.HostnameError
		certificate x509.CertificateInvalidError
		request     *url.Error
		syntax      *json.SyntaxError
		mismatch    *json.UnmarshalTypeError
	)
	switch {
	case lacksCredentials(err):
		return CauseCredentials
	case errors.Is(err, syscall.ECONNREFUSED):
		return CauseRefused
	case errors.Is(err, context.DeadlineExceeded):
		return CauseTimeout
	case errors.As(err, &dns):
		return CauseConnection
	case errors.As(err, &timeout) && timeout.Timeout():
		return CauseTimeout
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF), errors.Is(err, net.ErrClosed),
		errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE), errors.Is(err, syscall.ECONNABORTED),
		errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH),
		errors.As(err, &op), errors.As(err, &verify), errors.As(err, &record), errors.As(err, &alert),
		errors.As(err, &authority), errors.As(err, &hostname), errors.As(err, &certificate),
		errors.As(err, &request):
		return CauseConnection
	case chain(err, runtime.IsNotRegisteredError), chain(err, runtime.IsMissingKind), chain(err, runtime.IsMissingVersion),
		chain(err, runtime.IsStrictDecodingError), errors.As(err, &syntax), errors.As(err, &mismatch):
		return CauseDecoding
	}
	return CauseUnknown
}

// lacksCredentials reports whether client-go had no credentials to send a request with. It
// has no error types for this, only texts.
func lacksCredentials(err error) bool {
	text := err.Error()
	for _, known := range []string{
		"getting credentials: ", "exec plugin", "exec: executable ", // plugin/pkg/client/auth/exec
		"failed to read token file", "read empty token from file", // transport
		"failed to refresh token: ", "No valid id-token", // plugin/pkg/client/auth/oidc
	} {
		if strings.Contains(text, known) {
			return true
		}
	}
	return false
}

// chain reports whether is returns true for err or for an error that it wraps.
func chain(err error, is func(error) bool) bool {
	for ; err != nil; err = errors.Unwrap(err) {
		if is(err) {
			return true
		}
	}
	return false
}

// causeOfText classifies errors that libraries return as text only.
func causeOfText(err error) Cause {
	text := strings.ToLower(err.Error())
	for _, known := range []struct {
		cause Cause
		texts []string
	}{
		{CauseRefused, []string{"connection refused"}},
		{CauseConnection, []string{
			"http2: client connection lost", "goaway", "connection reset by peer", "broken pipe", "stream error: stream id",
			"use of closed network connection", "unexpected eof", "http: server closed", "malformed chunked encoding", "tls: ",
		}},
		{CauseTimeout, []string{"i/o timeout", "deadline exceeded", "timeout awaiting"}},
		{CauseServer, []string{"unable to retrieve the complete list of server apis"}},
		{CauseNotAPIServer, []string{"serializer for text/", "0-length response"}},
		{CauseDecoding, []string{
			"json", "proto", "yaml", "unmarshal", "decod", "get version/kind", "invalid character", "not a list", "unrecognized",
			"serializer", "content type", "empty data", "wire type", "wiretype", "varint",
		}},
	} {
		for _, t := range known.texts {
			if strings.Contains(text, t) {
				return known.cause
			}
		}
	}
	return CauseUnknown
}

// isExpired reports whether the server no longer has, or does not have yet, the requested
// resource version. The reason can be Expired or Gone.
func isExpired(err error) bool {
	return apierrors.IsResourceExpired(err) || apierrors.IsGone(err) || isTooLarge(err)
}

func isTooLarge(err error) bool {
	if apierrors.HasStatusCause(err, metav1.CauseTypeResourceVersionTooLarge) {
		return true
	}
	var status apierrors.APIStatus
	return apierrors.IsTimeout(err) && errors.As(err, &status) &&
		strings.Contains(status.Status().Message, "Too large resource version")
}

// Advice returns what a person can do about an error of this class, in a sentence without a
// full stop. It returns the empty string if the error is likely to pass by itself.
func (c Cause) Advice() string {
	switch c {
	case CauseForbidden:
		return "grant the client's identity the verbs list and watch on this resource, by a role and a role binding"
	case CauseUnauthorized:
		return "check the client's credentials: the server does not accept them"
	case CauseCredentials:
		return "check the exec plugin or the token file in the client's configuration: run the plugin as the user of this process"
	case CauseNotAPIServer:
		return "check the server's address: a proxy, a sign-in page or another program answers, and not the API server"
	case CauseNotInstalled:
		return "install the custom resource definition or enable the API, or check the spelling of group, version and resource"
	case CauseNotSupported:
		return "check which verbs the server offers for this resource with kubectl api-resources -o wide"
	case CauseRefused:
		return "check that an API server listens at this address"
	case CauseConnection:
		return "check the network to the API server, its host name and its certificate"
	case CauseRejected:
		return "check the selectors: the server rejects the request"
	case CauseDecoding:
		return "check that the Go type matches the resource and that the transform accepts each object"
	}
	return ""
}

// Explain returns the text of err, followed by [Cause.Advice] in parentheses if there is any.
// It returns the empty string for nil.
func Explain(err error) string {
	if err == nil {
		return ""
	}
	cause := CauseOf(err)
	if _, page := pageOf(err); page != "" && cause != CauseSink {
		cause = CauseNotAPIServer
	}
	if advice := cause.Advice(); advice != "" {
		return shortened(err) + " (" + advice + ")"
	}
	return shortened(err)
}
