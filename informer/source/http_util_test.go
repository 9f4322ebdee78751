// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package source_test

import "encoding/pem"

func pemOf(certificate []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate})
}
