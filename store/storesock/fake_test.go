package storesock

import (
	"context"
	"errors"
	"io"
	"net"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"example.org/letterbox/store"
)

// memory is a store.Admin whose directory is held in memory. It stands for the store's edits as far as a socket can tell
// them apart: it records what came, and answers as it was told.
type memory struct {
	mu      sync.Mutex
	dir     store.Directory
	applied [][]store.Edit
	err     error
	block   chan struct{} // where not nil, Apply waits for it
	entered chan struct{}
}

func (m *memory) Directory(context.Context) (store.Directory, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.dir, m.err
}

func (m *memory) Apply(_ context.Context, revision uint64, edits []store.Edit) (uint64, error) {
	if m.block != nil {
		m.entered <- struct{}{}
		<-m.block
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.err != nil {
		return 0, m.err
	}
	m.applied = append(m.applied, edits)
	m.dir.Revision++
	return m.dir.Revision, nil
}

func (m *memory) Figures(context.Context) (store.Stats, error) {
	return store.Stats{Messages: 3, LastDrain: time.Unix(1e9, 0).UTC()}, m.err
}

func (m *memory) Verify(context.Context) (store.Verification, error) {
	var v store.Verification
	v.Add(store.Finding{Text: "a finding"})
	return v, m.err
}

func (m *memory) StoreID() string { return "5709e" }

func (m *memory) calls() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.applied)
}

func newServer(a store.Admin) *adminServer {
	return &adminServer{
		admin: a, id: "5709e", log: zerolog.Nop(), allow: mayAdminister,
		slots: make(chan struct{}, maxAdmins), idle: time.Minute, limit: maxMessage,
	}
}

// start serves s on a socket of its own, and returns its path and the function that stops it and waits for the end.
func start(t testing.TB, s *adminServer) (path string, stop func()) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "admin.sock")
	l, err := ListenUnix(path, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.serve(ctx, l) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("the server ended with %v", err)
		}
	})
	t.Cleanup(stop)
	return path, stop
}

func dial(t testing.TB, path string) *AdminClient {
	t.Helper()
	a, err := DialAdmin(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.Close() })
	return a
}

// rawDial connects without a word.
func rawDial(t testing.TB, path string) *net.UnixConn {
	t.Helper()
	c, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(patience)) // a test that hangs fails
	return c.(*net.UnixConn)
}

func (m *memory) Undelete(context.Context, string, time.Time) (int, error) { return 0, m.err }

func (m *memory) Backup(_ context.Context, w io.Writer) (store.BackupReport, error) {
	_, err := w.Write(make([]byte, 3*maxFrame))
	return store.BackupReport{Octets: 3 * maxFrame}, errors.Join(err, m.err)
}

func (m *memory) Trace(_ context.Context, q store.Query) (store.Traced, error) {
	return store.Traced{Events: []store.Event{{Kind: store.EventAccepted, MessageID: q.Text}}, More: true}, m.err
}

func (m *memory) Mail(context.Context, string) ([]store.Message, error) { return nil, m.err }

func (m *memory) Copy(context.Context, string, store.ID, io.Writer) error { return m.err }

func (m *memory) Import(context.Context, string, string, io.Reader) (store.ID, error) {
	return store.ID{}, m.err
}
