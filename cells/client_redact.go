// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package cells

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"regexp"
	"strconv"
	"strings"
	"unicode"

	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/apiary-go/apiary/internal/redact"
)

// withoutUserinfo replaces user and password in an address, which need not be a URL.
func withoutUserinfo(address string) string {
	_, rest, found := strings.Cut(address, "://")
	if !found {
		rest = address
	}
	at := strings.LastIndexByte(rest, '@')
	if at < 0 {
		return address
	}
	return strings.TrimSuffix(address, rest) + "***" + rest[at:]
}

// isContent reports whether path is not a file, and may be the content of one.
func isContent(path string) bool {
	if _, err := os.Stat(path); err == nil {
		return false
	}
	return len(path) > 255 || strings.ContainsFunc(path, unicode.IsControl) || strings.Contains(path, "{") || strings.Contains(path, ": ")
}

var inLine = regexp.MustCompile(`line \d+`)

// unloadable returns why one of the kubeconfig files cannot be loaded, without quoting it.
func unloadable(files []string) error {
	for _, file := range files {
		_, err := clientcmd.LoadFromFile(file)
		if err == nil || len(files) > 1 && errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if at := (*fs.PathError)(nil); errors.As(err, &at) {
			return err
		}
		if line := inLine.FindString(err.Error()); line != "" {
			return fmt.Errorf("%s is not valid YAML: see %s", file, line)
		}
		return fmt.Errorf("%s is not a kubeconfig: %w", file, redact.Decoding(err))
	}
	return errors.New("it cannot be loaded")
}

// unusable returns the error of a loaded kubeconfig without user and password of its
// addresses, and without paths that may be the content of a file.
func unusable(loaded *clientcmdapi.Config, err error) error {
	text := err.Error()
	hide := func(value, with string) {
		if value == with {
			return
		}
		quoted := strconv.Quote(value)
		text = strings.ReplaceAll(strings.ReplaceAll(text, value, with), quoted[1:len(quoted)-1], with)
	}
	hidePath := func(path string) {
		if isContent(path) {
			hide(path, "***")
		}
	}
	for _, c := range loaded.Clusters {
		hide(c.Server, withoutUserinfo(c.Server))
		hide(c.ProxyURL, withoutUserinfo(c.ProxyURL))
		hidePath(c.CertificateAuthority)
	}
	for _, u := range loaded.AuthInfos {
		hidePath(u.ClientCertificate)
		hidePath(u.ClientKey)
		hidePath(u.TokenFile)
	}
	if text == err.Error() {
		return err
	}
	return errors.New(text)
}
