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

// Logger has everything in the hive log through logrus
// (github.com/sirupsen/logrus), as the flags of [LoggerConfig] say: the *slog.Logger
// that constructors get, with the attribute "module" that hive adds, and klog, the
// logger of client-go.
//
// hive takes its own logger as an argument of Run. Give it one of [NewLogger], and
// what hive itself says of starting and stopping looks the same and heeds the
// flags as well:
//
//	log, err := cells.NewLogger(cells.DefaultLoggerConfig)
//	…
//	hive.New(cells.Logger, …).Run(log)
//
// Put it first in the hive: its hook then runs before all others, and ends after
// them. The level and the format hold from the first constructor on. A file that
// LogOutput names is opened when the hive starts, and closed when it stops; earlier
// and later messages go to standard error.
//
// klog belongs to the process, not to the hive. It is taken over, once and for good,
// with the first constructor that wants a logger; nothing should be logging to it at
// that moment, since klog does not allow that. Its messages go to the hive that
// started last, and to slog.Default while none is running.
var Logger = LoggerWith(DefaultLoggerConfig)

// LoggerWith is [Logger] with defaults other than DefaultLoggerConfig for its flags.
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
	// LogLevel is the least level that is logged: trace, debug, info, warn or
	// error. Flag --log-level, default info.
	LogLevel string

	// LogFormat is text or json. Flag --log-format, default text.
	LogFormat string

	// LogOutput is stderr, stdout, or the path of a file, to which is
	// appended. Flag --log-output, default stderr.
	LogOutput string
}

// DefaultLoggerConfig is what [Logger] starts from.
var DefaultLoggerConfig = LoggerConfig{LogLevel: "info", LogFormat: "text", LogOutput: "stderr"}

// Flags implements cell.Flagger.
func (c LoggerConfig) Flags(flags *pflag.FlagSet) {
	flags.String("log-level", c.LogLevel, "Least level that is logged: trace, debug, info, warn or error")
	flags.String("log-format", c.LogFormat, "Format of the log: text or json")
	flags.String("log-output", c.LogOutput, "Where the log goes: stderr, stdout or the path of a file")
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

// NewLogger returns a logger for hive.Run and the like, backed by logrus. It fails
// if the level or the format is unknown. A file that LogOutput names is not opened
// before the hive starts, if [Logger] is in it; until then, and without, the log
// goes to standard error.
//
// [Logger] sets the level, the format and the output by its flags, which go before
// cfg.
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
	b.logrus.SetOutput(os.Stderr) // waits for who writes
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

// startLogger appends the hook for what outlives the constructors.
func startLogger(lc cell.Lifecycle, root cell.RootLogger) {
	backend := backendOf(root)
	if backend == nil {
		return // somebody decorated it further
	}
	target := (*slog.Logger)(root).With("module", "client-go")
	lc.Append(cell.Hook{
		OnStart: func(cell.HookContext) error {
			if err := backend.open(); err != nil {
				return err
			}
			klogTo.Store(target)
			return nil
		},
		OnStop: func(cell.HookContext) error {
			klogTo.CompareAndSwap(target, nil)
			return backend.close()
		},
	})
}
