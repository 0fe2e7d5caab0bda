package app

import (
	"io"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/rs/zerolog"

	"example.org/letterbox/cmd/letterbox/internal/config"
	"example.org/letterbox/cmd/letterbox/internal/term"
)

// The formats of the log.
const (
	formatAuto     = "auto"
	formatJSON     = "json"
	formatConsole  = "console"
	formatJournald = "journald"
)

// LogFormat resolves auto: console on a terminal, journald where the journal reads this very stream, else JSON.
func LogFormat(format string, stream io.Writer, journalStream string) string {
	switch {
	case format != formatAuto:
		return format
	case term.IsTerminal(stream):
		return formatConsole
	case isJournal(stream, journalStream):
		return formatJournald
	}
	return formatJSON
}

// isJournal tells whether stream is the connection to the journal that $JOURNAL_STREAM names as device:inode (systemd.exec(5)):
// the variable is inherited by processes whose output goes elsewhere.
func isJournal(stream io.Writer, journalStream string) bool {
	f, ok := stream.(*os.File)
	device, inode, found := strings.Cut(journalStream, ":")
	if !ok || !found {
		return false
	}
	info, err := f.Stat()
	if err != nil {
		return false
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	return ok && strconv.FormatUint(uint64(stat.Dev), 10) == device && strconv.FormatUint(uint64(stat.Ino), 10) == inode
}

// newLog returns the logger for a resolved format, and the gate that sets its level while it is in use.
func newLog(c config.Log, format string, w io.Writer) (zerolog.Logger, *levelGate) {
	gate := &levelGate{}
	gate.set(c.Level)
	switch format {
	case formatConsole:
		w = zerolog.ConsoleWriter{Out: w, TimeFormat: time.TimeOnly, NoColor: !term.IsTerminal(w)}
	case formatJournald:
		w = journalWriter{w}
	}
	return zerolog.New(w).Sample(gate).With().Timestamp().Logger(), gate
}

// levelGate lets events from its level on. A sampler is asked before an event is built, so that what is not logged costs
// nothing, and it can be changed by a reload, which a logger's own level can't.
type levelGate struct{ level atomic.Int32 }

func (g *levelGate) set(name string) {
	// The configuration admits only names that zerolog knows.
	level, _ := zerolog.ParseLevel(name)
	g.level.Store(int32(level))
}

// Sample tells whether an event of this level is logged.
func (g *levelGate) Sample(level zerolog.Level) bool { return int32(level) >= g.level.Load() }

// journalWriter puts the priority in front of each JSON line (sd-daemon(3)). That is lighter than the journal's own
// protocol: no socket to reach from a sandbox, and the same JSON for whatever reads the log behind the journal.
type journalWriter struct{ io.Writer }

// WriteLevel writes one line with its priority.
func (w journalWriter) WriteLevel(level zerolog.Level, line []byte) (int, error) {
	priority := "<6>"
	switch level {
	case zerolog.TraceLevel, zerolog.DebugLevel:
		priority = "<7>"
	case zerolog.WarnLevel:
		priority = "<4>"
	case zerolog.ErrorLevel:
		priority = "<3>"
	case zerolog.FatalLevel, zerolog.PanicLevel:
		priority = "<2>"
	}
	// One write, or lines of two goroutines could mix.
	if _, err := w.Write(append([]byte(priority), line...)); err != nil {
		return 0, err
	}
	return len(line), nil
}
