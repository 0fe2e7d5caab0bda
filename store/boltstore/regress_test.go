package boltstore

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"example.org/letterbox/store"
	"example.org/letterbox/store/seglog"
	"example.org/letterbox/store/vfs"
	"example.org/letterbox/store/vfs/vfstest"
)

// syncLies: the sync of the log reports EIO, but the octets are on the disk: "outcome unknown".
type syncLies struct {
	vfs.OS
	on atomic.Bool
}
type lyingFile struct {
	vfs.File
	fs   *syncLies
	name string
}

func (f *syncLies) OpenFile(n string, fl int, p os.FileMode) (vfs.File, error) {
	file, err := f.OS.OpenFile(n, fl, p)
	if err != nil {
		return nil, err
	}
	return &lyingFile{file, f, n}, nil
}
func (l *lyingFile) Sync() error {
	err := l.File.Sync()
	if l.fs.on.Load() && strings.Contains(l.name, ".seg") {
		return syscall.EIO
	}
	return err
}

// A1: the outcome of a large delivery is unknown; its record survives, its body file was removed.
func TestBodyGone(t *testing.T) {
	fsys := &syncLies{}
	o := Options{FS: fsys, reclaimInterval: time.Hour}
	ts := newTestStore(t, o)
	d := ts.begin(pattern(3 * maxInMemory))
	fsys.on.Store(true)
	t.Log("commit:", d.Commit(t.Context(), ts.to()))
	d.Discard()
	fsys.on.Store(false)
	ts.Close()
	ts.Store = openTest(t, ts.dir, Options{})
	m := ts.pick()
	for i := range m.Messages() {
		if _, err := ts.read(m, i); err != nil {
			t.Errorf("message %d is listed with %d octets, but: %v", i, m.Messages()[i].Octets, err)
		}
	}
}

func (ts *testStore) pick2() []store.Message {
	m := ts.pick()
	defer m.Close()
	return m.Messages()
}

// A4: a clock that stands (or is behind the last id), mail moved by reclaim, index rebuilt: an id is given twice, and the
// acknowledged second message is nowhere.
func TestIDTwice(t *testing.T) {
	now := time.Now()
	o := quiet
	o.Now = func() time.Time { return now }
	ts := newTestStore(t, o)
	for range 60 {
		ts.send(bytes.Repeat([]byte{'x'}, 4000))
	}
	ts.indexer.settle(0)
	m := ts.pick()
	var gone []int
	keep := 0
	for i, p := range m.places { // segment 1 stays; of the others every tenth
		if p.pos().Segment > 1 && i%10 != 0 && p.pos().Segment < m.places[59].pos().Segment {
			gone = append(gone, i)
		} else if p.pos().Segment == m.places[59].pos().Segment {
			gone = append(gone, i)
		} else {
			keep++
		}
	}
	// the message right behind segment 1's last one stays too
	for k, i := range gone {
		if m.places[i-1].pos().Segment == 1 {
			gone = append(gone[:k], gone[k+1:]...)
			keep++
			break
		}
	}
	if err := m.Commit(t.Context(), gone); err != nil {
		t.Fatal(err)
	}
	m.Close()
	// seal the head, so that it can be reclaimed too: large deletions only, no message
	for range 3 {
		v := &victim{s: ts.Store}
		seqs := make([]uint64, 50000)
		for i := range seqs {
			seqs[i] = 1<<40 + uint64(i)
		}
		if err := v.bury(map[tomb][]uint64{{drop: 99}: seqs}); err != nil {
			t.Fatal(err)
		}
	}
	sealed, _ := ts.log.Sealed()
	for _, s := range sealed[1:] {
		v := &victim{s: ts.Store, number: s.Number, tombs: map[tomb][]uint64{}}
		if err := v.reclaim(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	before := ts.pick2()
	if len(before) != keep {
		t.Fatalf("%d, want %d", len(before), keep)
	}
	ts.again(o, func(dir string) { os.Remove(filepath.Join(dir, "index.db")) })
	have := map[store.ID]bool{}
	for _, msg := range before {
		have[msg.ID] = true
	}
	id := ts.send([]byte("acknowledged\r\n"))
	if have[id] {
		t.Errorf("id %s is given to a second message while the first still waits", id)
	}
	if n := len(ts.pick().Messages()); n != keep+1 {
		t.Errorf("%d messages, want %d: the acknowledged one is lost", n, keep+1)
	}
}

// A5: accounts.db is gone (not synced into its folder, or restored without it).
func TestAccountsGone(t *testing.T) {
	ts := newTestStore(t, Options{})
	ts.send([]byte("a secret of me\r\n"))
	ts.Close()
	os.Remove(filepath.Join(ts.dir, "accounts.db"))
	s, err := Open(ts.dir, Options{})
	if err == nil {
		s.Close()
		t.Fatal("a store opened that can't say whose its mail is")
	}
	if !strings.Contains(err.Error(), "accounts.db") {
		t.Errorf("the refusal does not say what to restore: %v", err)
	}
}

// A6: QUIT beside the removal of its account.
func TestCountTwice(t *testing.T) {
	ts := newTestStore(t, Options{reclaimInterval: time.Hour})
	for range 5 {
		ts.send([]byte("x\r\n"))
	}
	m := ts.pick()
	committed := make(chan error, 1)
	// accounts.change runs discardMail, then commits accounts.db; QUIT comes in between. The hook is the transaction of the
	// index that settle() of the QUIT's login would cause; here the test waits for the removal record.
	before := ts.log.Counts().Records
	go func() {
		for ts.log.Counts().Records == before {
			runtime.Gosched()
		}
		committed <- m.Commit(t.Context(), indices(5))
	}()
	if _, err := ts.Apply(t.Context(), 0, []store.Edit{{Op: store.RemoveAccount, Address: "me@here.example", DiscardMail: true}}); err != nil {
		t.Fatal(err)
	}
	t.Log("QUIT:", <-committed)
	m.Close()
	if st := ts.Stats(); st.Messages != 0 || st.Octets != 0 {
		t.Errorf("stats count %d messages with %d octets in an empty store", st.Messages, st.Octets)
	}
	v, err := ts.Verify(t.Context())
	t.Log(v.Findings, err)
}

// A7: one damaged body keeps reclaim from ever giving anything back.
func TestReclaimStuck(t *testing.T) {
	ts := newTestStore(t, quiet)
	for range 300 {
		ts.send(bytes.Repeat([]byte{'x'}, 4000))
	}
	ts.indexer.settle(0)
	m := ts.pick()
	at := m.places[3].pos()
	m.Close()
	flip(t, filepath.Join(ts.dir, "log", "0000000000000001.seg"), at.Offset+500)
	gone := indices(3)
	for i := 4; i < 300; i++ {
		if p := m.places[i].pos().Segment; p == 1 || i%5 != 0 {
			gone = append(gone, i)
		}
	}
	ts.remove(gone) // of segment 1 all but the damaged one, of the others four fifths
	r := &reclaimer{s: ts.Store, ctx: t.Context()}
	for range 3 {
		t.Log("work:", r.work())
	}
	if c := ts.log.Counts(); c.Bytes > 3*ts.Stats().Octets {
		t.Errorf("%d segments, %d octets on disk for %d octets of mail", c.Segments, c.Bytes, ts.Stats().Octets)
	}
}

// A8: an index.db that is older than what reclaim dropped.
func TestOldIndex(t *testing.T) {
	ts := newTestStore(t, quiet)
	for range 60 {
		ts.send(bytes.Repeat([]byte{'x'}, 4000))
	}
	var old []byte
	ts.again(quiet, func(dir string) { old, _ = os.ReadFile(filepath.Join(dir, "index.db")) })
	ts.remove(indices(60))
	for range 60 {
		ts.send(bytes.Repeat([]byte{'y'}, 4000))
	}
	ts.remove(indices(60))
	ts.reclaim()
	for range 20 {
		ts.send(bytes.Repeat([]byte{'z'}, 4000))
	}
	ts.reclaim()
	ts.again(quiet, func(dir string) { os.WriteFile(filepath.Join(dir, "index.db"), old, 0o600) })
	m := ts.pick()
	bad := 0
	for i := range m.Messages() {
		if _, err := ts.read(m, i); err != nil {
			bad++
			if bad == 1 {
				t.Log(err)
			}
		}
	}
	if len(m.Messages()) != 20 {
		t.Errorf("%d messages, want 20; %d can't be read", len(m.Messages()), bad)
	}
}

// A9: the mark of a condemned index can't be written, since the disk is full: that is why it was condemned.
func TestMarkLost(t *testing.T) {
	faults := vfstest.NewFaults()
	boom := atomic.Bool{}
	o := Options{FS: faults, reclaimInterval: time.Hour, beforeApply: func() error {
		if boom.Load() {
			return syscall.ENOSPC
		}
		return nil
	}}
	ts := newTestStore(t, o)
	ts.send([]byte("x\r\n"))
	boom.Store(true)
	faults.Fail(func(c vfstest.Call, name string) error {
		if c == vfstest.Write && strings.Contains(name, "index.condemned") {
			return syscall.ENOSPC
		}
		return nil
	})
	ts.indexer.settle(0)
	t.Log("health:", ts.Health())
	ts.Close()
	if _, err := os.Stat(filepath.Join(ts.dir, condemnedFile)); err != nil {
		if _, err := os.Stat(filepath.Join(ts.dir, "index.db")); err == nil {
			t.Error("the index is condemned, but the next start will use it: no mark, and index.db is still there")
		}
	}
}

// A10: a failed commit of forget() does not condemn the index.
func TestForget(t *testing.T) {
	ts := newTestStore(t, quiet)
	for range 60 {
		ts.send(bytes.Repeat([]byte{'x'}, 4000))
	}
	ts.indexer.settle(0)
	fd := -1
	links, _ := os.ReadDir("/proc/self/fd")
	for _, l := range links {
		if to, _ := os.Readlink("/proc/self/fd/" + l.Name()); to == filepath.Join(ts.dir, "index.db") {
			for _, c := range l.Name() {
				if fd < 0 {
					fd = 0
				}
				fd = fd*10 + int(c-'0')
			}
		}
	}
	keep, _ := syscall.Dup(fd)
	ro, _ := os.Open(filepath.Join(ts.dir, "index.db"))
	syscall.Dup3(int(ro.Fd()), fd, 0)
	err := ts.index.forget()
	syscall.Dup3(keep, fd, 0)
	if err == nil {
		t.Fatal("the transaction did not fail")
	}
	ts.send([]byte("later\r\n"))
	if ts.indexer.settle(0) == nil || ts.Health() == nil {
		t.Error("the index goes on behind a transaction that failed")
	}
	ts.Close() //nolint:errcheck // it says that the index failed
	ts.Store = openTest(t, ts.dir, quiet)
	if n := len(ts.pick().Messages()); n != 61 {
		t.Errorf("%d messages after the next start, want 61", n)
	}
}

// A11: killed while the disk is full: the ballast is there, but Open does not give it up.
func TestOpenFull(t *testing.T) {
	faults := vfstest.NewFaults()
	o := Options{FS: faults, reclaimInterval: time.Hour, ballastInterval: time.Hour}
	ts := newTestStore(t, o)
	ts.send([]byte("x\r\n"))
	ts.indexer.settle(0)
	ts.space.restore()
	if !ts.space.ballast {
		t.Skip("no ballast")
	}
	ts.send([]byte("y\r\n"))
	dir := t.TempDir()
	// a kill: copy without Close
	if err := os.CopyFS(filepath.Join(dir, "s"), os.DirFS(ts.dir)); err != nil {
		t.Fatal(err)
	}
	f2 := vfstest.NewFaults()
	f2.Fill(0)
	s, err := Open(filepath.Join(dir, "s"), Options{FS: f2})
	if err != nil {
		info, statErr := os.Stat(filepath.Join(dir, "s", "ballast"))
		t.Fatalf("does not open: %v; ballast: %v %v", err, info.Size(), statErr)
	}
	s.Close()
}

// A12: making the ballast stops all deliveries.
func TestBallastStalls(t *testing.T) {
	faults := vfstest.NewFaults()
	o := Options{FS: faults, reclaimInterval: time.Hour, ballastInterval: time.Hour}
	ts := newTestStore(t, o)
	writing, goOn := make(chan struct{}), make(chan struct{})
	var once sync.Once
	faults.Fail(func(c vfstest.Call, name string) error {
		if c == vfstest.Write && strings.HasSuffix(name, "ballast") {
			once.Do(func() { close(writing) })
			<-goOn
		}
		return nil
	})
	restored := make(chan struct{})
	go func() {
		defer close(restored)
		ts.space.restore()
	}()
	select {
	case <-writing:
	case <-restored:
		t.Skip("this disk has no room for a ballast")
	}
	timer := time.AfterFunc(patience, func() {
		t.Error("a delivery waits until the ballast is made")
		close(goOn)
	})
	ts.send([]byte("x\r\n"))
	if timer.Stop() {
		close(goOn)
	}
	<-restored
}

// A13: a write to the spool fails; the next ones succeed, and so does Commit.
func TestHole(t *testing.T) {
	faults := vfstest.NewFaults()
	ts := newTestStore(t, Options{FS: faults, BodyMemory: 1})
	d, err := ts.Begin(t.Context(), store.Envelope{})
	if err != nil {
		t.Fatal(err)
	}
	io.WriteString(d, "one\r\n")
	faults.Fail(vfstest.Once(vfstest.Write, 0, syscall.ENOSPC))
	_, err = io.WriteString(d, "two\r\n")
	t.Log("write:", err)
	io.WriteString(d, "three\r\n")
	if err := d.Commit(t.Context(), ts.to()); err == nil {
		b, _ := ts.read(ts.pick(), 0)
		t.Errorf("acknowledged: %q", b)
	}
}

var _ = errors.Is
var _ seglog.Pos
