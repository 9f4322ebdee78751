// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package cells

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/cilium/hive/script"
	"github.com/spf13/pflag"
	"sigs.k8s.io/yaml"
)

// The formats of --format.
const (
	formatTable = "table"
	formatYAML  = "yaml"
	formatJSON  = "json"
)

// fileFlags are the flags of a command that shows something, named as in statedb. The first
// format is the default.
func fileFlags(fs *pflag.FlagSet, formats ...string) {
	fs.StringP("out", "o", "", "File to write to instead of stdout")
	fs.StringP("format", "f", formats[0], "Format to write in ("+strings.Join(formats, ", ")+")")
}

// tableFlags are the flags of a command that shows rows.
func tableFlags(fs *pflag.FlagSet) {
	fileFlags(fs, formatTable, formatYAML, formatJSON)
	fs.StringSlice("columns", nil, "Columns of the table to write")
}

func isTable(s *script.State) bool {
	format, _ := s.Flags.GetString("format")
	return format == formatTable
}

// completeFormat completes --format.
func completeFormat(formats ...string) func(*script.State, []string, string, string) []string {
	return func(_ *script.State, _ []string, flag, _ string) []string {
		if flag == "format" {
			return formats
		}
		return nil
	}
}

// column is a column of a table of R.
type column[R any] struct {
	name string
	of   func(R) string
}

// writeRows writes rows in the format of --format. YAML and JSON have the fields of R.
func writeRows[R any](s *script.State, columns []column[R], rows []R) (script.WaitFunc, error) {
	names, _ := s.Flags.GetStringSlice("columns")
	if !isTable(s) {
		if len(names) > 0 {
			return nil, errors.New("--columns is for tables: leave out --format")
		}
		return writeValue(s, rows)
	}
	if len(names) > 0 {
		all := columns
		columns = nil
		for _, name := range names {
			i := slices.IndexFunc(all, func(c column[R]) bool { return strings.EqualFold(c.name, name) })
			if i < 0 {
				return nil, fmt.Errorf("--columns: there is no column %q", name)
			}
			columns = append(columns, all[i])
		}
	}
	var b strings.Builder
	table := tabwriter.NewWriter(&b, 0, 0, 3, ' ', 0)
	line := func(text func(column[R]) string) {
		for i, c := range columns {
			if i > 0 {
				_, _ = fmt.Fprint(table, "\t")
			}
			_, _ = fmt.Fprint(table, text(c))
		}
		_, _ = fmt.Fprintln(table)
	}
	line(func(c column[R]) string { return c.name })
	for _, r := range rows {
		line(func(c column[R]) string { return c.of(r) })
	}
	_ = table.Flush()
	return printText(s, b.String())
}

// writeValue writes v as YAML or JSON.
func writeValue(s *script.State, v any) (script.WaitFunc, error) {
	format, _ := s.Flags.GetString("format")
	text, err := encode(v, format)
	if err != nil {
		return nil, err
	}
	return printText(s, text)
}

func encode(v any, format string) (string, error) {
	switch format {
	case formatYAML:
		text, err := yaml.Marshal(v)
		return string(text), err
	case formatJSON:
		text, err := json.MarshalIndent(v, "", "  ")
		return string(text) + "\n", err
	}
	return "", fmt.Errorf("--format=%s: there is no such format, see the help of the command", format)
}

// printText writes to the file of --out, or to stdout.
func printText(s *script.State, text string) (script.WaitFunc, error) {
	if file, _ := s.Flags.GetString("out"); file != "" {
		return nil, os.WriteFile(s.Path(file), []byte(text), 0o600)
	}
	return func(*script.State) (stdout, stderr string, err error) { return text, "", nil }, nil
}
