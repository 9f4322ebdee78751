// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package informer

import (
	"errors"
	"fmt"
	"html"
	"mime"
	"net/http"
	"regexp"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// AnswerError means that a successful response does not come from an API server: it is a
// sign-in page, the text of a proxy, or empty.
type AnswerError struct {
	// Code is the HTTP status. It is zero for an unknown status of success.
	Code int

	// ContentType is the media type, such as "text/html". It is empty for an empty response.
	ContentType string

	// Text is the title of a page, or the first line of a text, shortened.
	Text string
}

// NewAnswerError returns the error for a response with this status, media type and body. The
// beginning of the body suffices. If contentType is empty, the body determines it.
func NewAnswerError(code int, contentType string, body []byte) *AnswerError {
	e := &AnswerError{Code: code}
	if len(body) == 0 {
		return e
	}
	detected := http.DetectContentType(body)
	if e.ContentType = mediaType(contentType); e.ContentType == "" {
		e.ContentType = mediaType(detected)
	}
	// A success that is no page can be an object: its content is in no text.
	if strings.HasPrefix(detected, "text/html") || code != 0 && strings.HasPrefix(detected, "text/") {
		e.Text = headline(string(body))
	}
	return e
}

// Error implements error.
func (e *AnswerError) Error() string {
	return "not a response of an API server: " + answerText(e.Code, e.ContentType, e.Text)
}

func answerText(code int, contentType, text string) string {
	answer := "HTTP 2xx"
	if code != 0 {
		answer = fmt.Sprint("HTTP ", code)
	}
	if contentType == "" {
		return answer + " with an empty body"
	}
	answer += " with " + contentType
	if text != "" {
		answer += fmt.Sprintf(" %q", text)
	}
	return answer
}

func mediaType(contentType string) string {
	media, _, err := mime.ParseMediaType(contentType)
	if err != nil {
		return ""
	}
	return media
}

var title = regexp.MustCompile(`(?is)<title[^>]*>(.*?)</title`)

// headlineMost is the longest headline, in characters.
const headlineMost = 60

// headline returns the title of a page, or the first line of another text. The rest can have
// any content.
func headline(text string) string {
	text = strings.TrimSpace(strings.ToValidUTF8(text, ""))
	if found := title.FindStringSubmatch(text); found != nil {
		text = html.UnescapeString(found[1])
	} else if strings.HasPrefix(text, "<") {
		return ""
	} else {
		text, _, _ = strings.Cut(text, "\n")
	}
	runes := []rune(strings.Join(strings.Fields(text), " "))
	if len(runes) > headlineMost {
		return string(runes[:headlineMost]) + "…"
	}
	return string(runes)
}

// longText is the length in bytes from which a text that is no Status is shortened.
const longText = 200

// pageOf returns the status of an error response, and the page or long text of its body, if
// the body is no Status.
func pageOf(err error) (status metav1.Status, text string) {
	var known apierrors.APIStatus
	if !errors.As(err, &known) {
		return status, ""
	}
	status = known.Status()
	if status.Details == nil {
		return status, ""
	}
	for _, cause := range status.Details.Causes {
		text := strings.TrimSpace(cause.Message)
		if cause.Type == metav1.CauseTypeUnexpectedServerResponse && (strings.HasPrefix(text, "<") || len(text) > longText) {
			return status, text
		}
	}
	return status, ""
}

// shortened returns the text of err, with the title of a page in place of the page.
func shortened(err error) string {
	if err == nil {
		return "<nil>"
	}
	text := err.Error()
	status, page := pageOf(err)
	if page == "" || status.Message == "" {
		return text
	}
	short := answerText(int(status.Code), mediaType(http.DetectContentType([]byte(page))), headline(page))
	return strings.Replace(text, status.Message, short, 1)
}
