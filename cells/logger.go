// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package cells

import (
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"sync"

	"github.com/cilium/hive/cell"
	"github.com/sirupsen/logrus"
	"github.com/spf13/pflag"
)

// Logger sends all logs of the hive to logrus (github.com/sirupsen/logrus): those of the
// *slog.Logger of constructors, and those of klog, the logger of client-go. [LoggerConfig]
// has the flags.
//
// Run of the hive has a logger as an argument. With a logger of [NewLogger], the messages
// of hive itself use the same format, and the flags apply to them:
//
//	log, err := cells.NewLogger(cells.DefaultLoggerConfig)
//	…
//	hive.New(cells.Logger, …).Run(log)
//
// Put Logger first in the hive, so that its hook starts first and stops last. Level and
// format apply from the first constructor on. The file of LogOutput is opened at Start
// and closed at Stop. Earlier and later messages go to standard error.
//
// klog belongs to the process. The first constructor that needs a logger replaces the
// logger of klog for the rest of the process; nothing must use klog at that moment. The
// messages of klog go to the hive that started last, and to slog.Default if none runs.
var Logger = LoggerWith(DefaultLoggerConfig)

// LoggerWith is [Logger] with other defaults of the flags.
func LoggerWith(defaults LoggerConfig) cell.Cell {
	return cell.Module(
		"logger", "Logging through logrus",

		cell.Config(defaults),
		cell.DecorateAll(decorateLogger),
		cell.Invoke(startLogger),
	)
}

// LoggerConfig is the configuration of [Logger] and [NewLogger].
type LoggerConfig struct {
	// LogLevel is the lowest level that is logged: trace, debug, info, warn or error.
	// Default: info. Flag --log-level.
	LogLevel string

	// LogFormat is text or json. Default: text. Flag --log-format.
	LogFormat string

	// LogOutput is stderr, stdout, or the path of a file. Messages are appended to the
	// file. Default: stderr. Flag --log-output.
	LogOutput string
}

// DefaultLoggerConfig has the defaults of the flags of [Logger].
var DefaultLoggerConfig = LoggerConfig{LogLevel: "info", LogFormat: "text", LogOutput: "stderr"}

// Flags implements cell.Flagger.
func (c LoggerConfig) Flags(flags *pflag.FlagSet) {
	flags.String("log-level", c.LogLevel, "Lowest level that is logged: trace, debug, info, warn or error")
	flags.String("log-format", c.LogFormat, "Format of the log: text or json")
	flags.String("log-output", c.LogOutput, "Output of the log: stderr, stdout or the path of a file")
}

// levelTrace is below slog.LevelDebug. klog's verbosities above 4 are here.
const levelTrace = slog.Level(-8)

func (c LoggerConfig) level() (slog.Level, error) {
	switch strings.ToLower(c.LogLevel) {
	case "trace":
		return levelTrace, nil
	case "debug":
		return slog.LevelDebug, nil
	case "info", "":
		return slog.LevelInfo, nil
	case "warn", "warning":
		return slog.LevelWarn, nil
	case "error":
		return slog.LevelError, nil
	}
	return 0, fmt.Errorf("--log-level=%s: want trace, debug, info, warn or error", c.LogLevel)
}

func (c LoggerConfig) formatter() (logrus.Formatter, error) {
	switch strings.ToLower(c.LogFormat) {
	case "text", "":
		return &logrus.TextFormatter{FullTimestamp: true}, nil
	case "json":
		return &logrus.JSONFormatter{}, nil
	}
	return nil, fmt.Errorf("--log-format=%s: want text or json", c.LogFormat)
}

// NewLogger returns a logger that writes to logrus, for Run of a hive. It fails if the
// level or the format is unknown.
//
// If [Logger] is in the hive, its flags override cfg, and it opens the file of LogOutput
// at Start. Before that, and without [Logger], messages for a file go to standard error.
func NewLogger(cfg LoggerConfig) (*slog.Logger, error) {
	backend, err := makeBackend(cfg)
	if err != nil {
		return nil, err
	}
	return slog.New(&handler{backend: backend}), nil
}

// loggerBackend is what the loggers of one hive share.
type loggerBackend struct {
	logrus *logrus.Logger
	level  slog.LevelVar
	bridge slog.Handler

	mu     sync.Mutex
	output string
	file   io.Closer
}

func makeBackend(cfg LoggerConfig) (*loggerBackend, error) {
	b := &loggerBackend{logrus: logrus.New()}
	b.logrus.SetLevel(logrus.TraceLevel) // b.level decides
	b.bridge = newBridge(b.logrus)
	if err := b.apply(cfg); err != nil {
		return nil, err
	}
	return b, nil
}

// apply sets all but the file.
func (b *loggerBackend) apply(cfg LoggerConfig) error {
	level, err := cfg.level()
	if err != nil {
		return err
	}
	formatter, err := cfg.formatter()
	if err != nil {
		return err
	}
	b.level.Set(level)
	b.logrus.SetFormatter(formatter)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.output = cfg.LogOutput
	if b.output == "stdout" {
		b.logrus.SetOutput(os.Stdout)
	} else {
		b.logrus.SetOutput(os.Stderr)
	}
	return nil
}

// open opens the file, if the output is one.
func (b *loggerBackend) open() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch b.output {
	case "", "stderr", "stdout":
		return nil
	}
	file, err := os.OpenFile(b.output, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return fmt.Errorf("--log-output: %w", err)
	}
	b.file = file
	b.logrus.SetOutput(file)
	return nil
}

func (b *loggerBackend) close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.file == nil {
		return nil
	}
	b.logrus.SetOutput(os.Stderr) // waits for a writer
	err := b.file.Close()
	b.file = nil
	return err
}

// decorateLogger replaces the loggers of the hive, unless they are ours already.
func decorateLogger(cfg LoggerConfig, root cell.RootLogger, log *slog.Logger) (cell.RootLogger, *slog.Logger, error) {
	takeOverKlog()
	if backend := backendOf(root); backend != nil {
		return root, log, backend.apply(cfg)
	}
	backend, err := makeBackend(cfg)
	if err != nil {
		return nil, nil, err
	}
	ours := slog.New(&handler{backend: backend})
	return cell.RootLogger(ours), ours, nil
}

func backendOf(root cell.RootLogger) *loggerBackend {
	if h, ok := (*slog.Logger)(root).Handler().(*handler); ok {
		return h.backend
	}
	return nil
}

type loggerHook struct{ hook }

// startLogger appends the hook for what outlives the constructors.
func startLogger(lc cell.Lifecycle, root cell.RootLogger) {
	backend := backendOf(root)
	if backend == nil {
		return // the program has replaced the logger
	}
	target := (*slog.Logger)(root).With("module", "client-go")
	lc.Append(loggerHook{hook{
		info: "logger",
		start: func(cell.HookContext) error {
			if err := backend.open(); err != nil {
				return err
			}
			klogTo.Store(target)
			return nil
		},
		stop: func(cell.HookContext) error {
			klogTo.CompareAndSwap(target, nil)
			return backend.close()
		},
	}})
}
