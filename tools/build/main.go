// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

// Command build runs go build and shows the progress.
//
//	build NAME DIR [FLAGS] PACKAGE
//
// It builds PACKAGE of the module in DIR. The progress is shown under NAME. On a
// terminal, one line is updated every second; elsewhere, a line is printed every ten
// seconds. It prints nothing in the first seconds, and nothing if no package must be
// compiled.
package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"time"
)

func main() {
	if len(os.Args) < 4 {
		fmt.Fprintln(os.Stderr, "usage: build NAME DIR [FLAGS] PACKAGE")
		os.Exit(2)
	}
	if err := build(os.Args[1], os.Args[2], os.Args[3:]); err != nil {
		fmt.Fprintf(os.Stderr, "build of %s: %v\n", os.Args[1], err)
		os.Exit(1)
	}
}

// build runs go build in dir and reports on it.
func build(name, dir string, args []string) error {
	cmd := exec.Command("go", append([]string{"build", "-C", dir, "-v"}, args...)...)
	cmd.Stdout = os.Stdout
	log, err := cmd.StderrPipe()
	if err != nil {
		return err
	}
	r := newReport(os.Stdout, name, isTerminal(os.Stdout), time.Now)
	if err := cmd.Start(); err != nil {
		return err
	}
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		r.run(stop, func() []string { return stale(dir, args[len(args)-1]) })
	}()
	readErr := r.read(log, os.Stderr)
	err = cmd.Wait()
	close(stop)
	<-stopped
	if err == nil {
		err = readErr
	}
	r.end(err == nil)
	return err
}

// stale returns the dependencies of pkg that go build must still compile.
func stale(dir, pkg string) []string {
	out, err := exec.Command("go", "list", "-C", dir, "-deps", "-f", "{{if .Stale}}{{.ImportPath}}{{end}}", pkg).Output()
	if err != nil {
		return nil // go build reports the error
	}
	return strings.Fields(string(out))
}

func isTerminal(f *os.File) bool {
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

const (
	quiet      = 3 * time.Second // no report before
	onTerminal = time.Second     // between two reports
	elsewhere  = 10 * time.Second
)

// report counts the packages that go build prints, and prints the progress.
type report struct {
	out      io.Writer
	name     string
	terminal bool
	now      func() time.Time
	start    time.Time

	mu      sync.Mutex
	begun   map[string]bool // packages that go build has printed
	total   int             // 0 if unknown
	printed bool
}

func newReport(out io.Writer, name string, terminal bool, now func() time.Time) *report {
	return &report{out: out, name: name, terminal: terminal, now: now, start: now(), begun: map[string]bool{}}
}

// read reads the standard error of go build -v until its end. It counts lines that are
// paths of packages. Other lines are errors and are written to rest.
func (r *report) read(log io.Reader, rest io.Writer) error {
	lines := bufio.NewReader(log)
	for {
		line, err := lines.ReadString('\n')
		if path := strings.TrimSpace(line); path != "" && !strings.ContainsAny(path, " :\t") {
			r.mu.Lock()
			r.begun[path] = true
			r.mu.Unlock()
		} else if line != "" {
			r.clear()
			if _, err := io.WriteString(rest, line); err != nil {
				return err
			}
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// run prints the progress until stop is closed. It calls stale once, when go build has
// run for some time. Most builds end before.
func (r *report) run(stop <-chan struct{}, stale func() []string) {
	select {
	case <-stop:
		return
	case <-time.After(quiet):
	}
	r.count(stale())
	every := elsewhere
	if r.terminal {
		every = onTerminal
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		r.print()
		select {
		case <-stop:
			return
		case <-tick.C:
		}
	}
}

// count sets the packages that must still be compiled. go build may have begun some of
// them.
func (r *report) count(stale []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(stale) == 0 {
		return
	}
	r.total = len(r.begun)
	for _, path := range stale {
		if !r.begun[path] {
			r.total++
		}
	}
}

// print prints the progress, if go build compiles a package.
func (r *report) print() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.begun) == 0 {
		return
	}
	progress := fmt.Sprintf("%d packages", len(r.begun))
	if r.total > 0 {
		progress = fmt.Sprintf("%d of %d packages", len(r.begun), max(r.total, len(r.begun)))
	}
	text := fmt.Sprintf("== building %s: %s, %s", r.name, progress, r.elapsed())
	if r.terminal {
		fmt.Fprintf(r.out, "\r\x1b[K%s", text)
	} else {
		fmt.Fprintln(r.out, text)
	}
	r.printed = true
}

// clear removes the line of a terminal.
func (r *report) clear() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.terminal && r.printed {
		fmt.Fprint(r.out, "\r\x1b[K")
	}
}

// end prints the total time, if progress was printed.
func (r *report) end(ok bool) {
	r.clear()
	if r.printed && ok {
		fmt.Fprintf(r.out, "== built %s in %s\n", r.name, r.elapsed())
	}
}

func (r *report) elapsed() string {
	d := r.now().Sub(r.start).Round(time.Second)
	if d < time.Minute {
		return fmt.Sprintf("%d s", d/time.Second)
	}
	return fmt.Sprintf("%d min %d s", d/time.Minute, d%time.Minute/time.Second)
}
