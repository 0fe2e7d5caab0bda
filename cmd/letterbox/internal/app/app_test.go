package app

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"example.org/letterbox/cmd/letterbox/internal/config"
)

func TestLogFormat(t *testing.T) {
	file, err := os.Create(filepath.Join(t.TempDir(), "stderr"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		t.Fatal(err)
	}
	stat := info.Sys().(*syscall.Stat_t)
	this := strconv.FormatUint(uint64(stat.Dev), 10) + ":" + strconv.FormatUint(uint64(stat.Ino), 10)
	for _, test := range []struct{ format, journal, want string }{
		{"auto", this, "journald"},
		{"auto", "1:1", "json"}, // inherited, but standard error goes elsewhere
		{"auto", "", "json"},
		{"auto", "nonsense", "json"},
		{"console", this, "console"},
		{"json", this, "json"},
	} {
		if got := LogFormat(test.format, file, test.journal); got != test.want {
			t.Errorf("%s with %q is %s, want %s", test.format, test.journal, got, test.want)
		}
	}
}

func TestJournalPriorities(t *testing.T) {
	var b bytes.Buffer
	log, _ := newLog(config.Log{Level: "debug"}, formatJournald, &b)
	log.Debug().Msg("a")
	log.Info().Msg("b")
	log.Warn().Msg("c")
	log.Error().Msg("d")
	lines := strings.Split(strings.TrimSpace(b.String()), "\n")
	if len(lines) != 4 {
		t.Fatalf("%q", b.String())
	}
	for i, priority := range []string{"<7>{", "<6>{", "<4>{", "<3>{"} {
		if !strings.HasPrefix(lines[i], priority) {
			t.Errorf("%s does not begin with %s", lines[i], priority)
		}
	}
}

// TestLevelChangesInUse shows that a reload reaches the loggers that were derived before it.
func TestLevelChangesInUse(t *testing.T) {
	var b bytes.Buffer
	log, gate := newLog(config.Log{Level: "warn"}, formatJSON, &b)
	derived := log.With().Str("sid", "x").Logger()
	derived.Info().Msg("hidden")
	gate.set("debug")
	derived.Debug().Msg("shown")
	gate.set("error")
	derived.Warn().Msg("hidden")
	if got := b.String(); strings.Contains(got, "hidden") || !strings.Contains(got, "shown") {
		t.Errorf("%s", got)
	}
}

// TestStopIsInReverseAndBounded shows that what hangs does not keep the rest open for ever.
func TestStopIsInReverseAndBounded(t *testing.T) {
	s := &process{log: zerolog.Nop()}
	var order []string
	for _, name := range []string{"store", "socket", "listener"} {
		s.defers(func(context.Context) error { order = append(order, name); return nil })
	}
	failed := errors.New("does not close")
	s.defers(func(context.Context) error { return failed })
	if err := s.stop(); !errors.Is(err, failed) {
		t.Errorf("%v", err)
	}
	if got := strings.Join(order, " "); got != "listener socket store" {
		t.Errorf("closed in the order %s", got)
	}

	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	hang := make(chan struct{})
	defer close(hang)
	if err := bounded(ctx, func(context.Context) error { <-hang; return nil }); err == nil {
		t.Error("what hangs was closed")
	}
}

func TestFolderErrorIsOneSentence(t *testing.T) {
	for cause, want := range map[error]string{
		&os.PathError{Op: "mkdir", Path: "d", Err: syscall.ENOTDIR}:      "data folder d (from --data) is no folder",
		&os.PathError{Op: "open", Path: "d", Err: syscall.EROFS}:         "is read-only",
		&os.PathError{Op: "open", Path: "d", Err: syscall.EACCES}:        "can't be written by uid",
		&os.PathError{Op: "mkdir", Path: "d", Err: syscall.ENOENT}:       "is not there and can't be made",
		&os.PathError{Op: "write", Path: "d", Err: syscall.ENOSPC}:       "is full",
		&os.PathError{Op: "mkdir", Path: "d", Err: syscall.ENAMETOOLONG}: "too long",
		&os.PathError{Op: "mkdir", Path: "d", Err: syscall.ELOOP}:        "lead in a circle",
	} {
		err := folderError("d", "--data", cause)
		if input := (*InputError)(nil); !errors.As(err, &input) || !strings.Contains(err.Error(), want) || !errors.Is(err, cause) {
			t.Errorf("%v became %v", cause, err)
		}
	}
	missing := &os.PathError{Op: "open", Path: "segment", Err: syscall.ENOENT}
	if err := folderError(t.TempDir(), "--data", missing); errors.As(err, new(*InputError)) {
		t.Error("a file that is missing in the folder is no mistake of the operator's")
	}
	if err := folderError("d", "--data", errors.New("segment 3 is missing")); errors.As(err, new(*InputError)) {
		t.Error("damage is no mistake of the operator's")
	}
}
