package vfstest

import (
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"example.org/letterbox/store/vfs"
)

// page is the unit in which a write reaches the disk.
const page = 4096

// Recorder passes every call to the operating system and keeps those that change something below its root.
type Recorder struct {
	vfs.OS
	root string

	mu    sync.Mutex
	ops   []op
	syncs []int // indices of ops that make something durable
	files int
}

// op is one change. file names an inode, path a directory entry.
type op struct {
	call Call
	file int
	path string
	to   string // rename
	off  int64
	data []byte
	size int64 // truncate
}

// NewRecorder records what happens below root.
func NewRecorder(root string) *Recorder { return &Recorder{root: root} }

func (r *Recorder) add(o op) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if o.call == Sync || o.call == SyncDir {
		r.syncs = append(r.syncs, len(r.ops))
	}
	r.ops = append(r.ops, o)
}

func (r *Recorder) rel(name string) string {
	rel, err := filepath.Rel(r.root, name)
	if err != nil {
		return name
	}
	return rel
}

// Len is the number of changes so far. Everything acknowledged by now is durable in every state from here on.
func (r *Recorder) Len() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.ops)
}

// SyncPoints are the moments right before and right after something became durable.
func (r *Recorder) SyncPoints() []int {
	r.mu.Lock()
	defer r.mu.Unlock()
	var points []int
	for _, i := range r.syncs {
		points = append(points, i, i+1)
	}
	return points
}

// OpenFile implements vfs.FS.
func (r *Recorder) OpenFile(name string, flag int, perm fs.FileMode) (vfs.File, error) {
	_, statErr := os.Stat(name)
	f, err := r.OS.OpenFile(name, flag, perm)
	if err != nil {
		return nil, err
	}
	rec := &recordedFile{File: f, r: r}
	r.mu.Lock()
	if statErr != nil {
		r.files++
		rec.file = r.files
		r.ops = append(r.ops, op{call: Open, file: rec.file, path: r.rel(name)})
	} else {
		rec.file = r.inode(r.rel(name))
	}
	r.mu.Unlock()
	if statErr == nil && flag&os.O_TRUNC != 0 {
		r.add(op{call: Truncate, file: rec.file})
	}
	return rec, nil
}

// inode finds the file that a name stands for now.
func (r *Recorder) inode(path string) int {
	names := map[string]int{}
	for _, o := range r.ops {
		entry(names, o)
	}
	if names[path] == 0 {
		panic("a file that was not recorded: " + path)
	}
	return names[path]
}

// entry applies one change of a directory.
func entry(names map[string]int, o op) {
	switch o.call {
	case Open:
		names[o.path] = o.file
	case Rename:
		if n, ok := names[o.path]; ok {
			delete(names, o.path)
			names[o.to] = n
		}
	case Remove:
		delete(names, o.path)
	}
}

// Rename implements vfs.FS.
func (r *Recorder) Rename(oldname, newname string) error {
	err := r.OS.Rename(oldname, newname)
	if err == nil {
		r.add(op{call: Rename, path: r.rel(oldname), to: r.rel(newname)})
	}
	return err
}

// Remove implements vfs.FS.
func (r *Recorder) Remove(name string) error {
	err := r.OS.Remove(name)
	if err == nil {
		r.add(op{call: Remove, path: r.rel(name)})
	}
	return err
}

// SyncDir implements vfs.FS.
func (r *Recorder) SyncDir(name string) error {
	err := r.OS.SyncDir(name)
	if err == nil {
		r.add(op{call: SyncDir, path: r.rel(name)})
	}
	return err
}

type recordedFile struct {
	vfs.File
	r    *Recorder
	file int
}

func (f *recordedFile) WriteVec(bufs [][]byte, off int64) error {
	var all []byte
	for _, b := range bufs {
		all = append(all, b...)
	}
	f.r.add(op{call: Write, file: f.file, off: off, data: all})
	return f.File.WriteVec(bufs, off)
}

func (f *recordedFile) Truncate(size int64) error {
	f.r.add(op{call: Truncate, file: f.file, size: size})
	return f.File.Truncate(size)
}

func (f *recordedFile) Sync() error {
	err := f.File.Sync()
	if err == nil {
		f.r.add(op{call: Sync, file: f.file})
	}
	return err
}

// Keep decides what of the changes that were not synced reached the disk.
type Keep func() bool

// Nothing and Everything are the two ends; Some is a seeded choice between them.
func Nothing() bool { return false }

// Everything keeps all.
func Everything() bool { return true }

// Some returns a seeded choice.
func Some(seed uint64) Keep {
	rng := rand.New(rand.NewPCG(seed, 99))
	share := rng.Float64()
	return func() bool { return rng.Float64() < share }
}

// disk is the state of a disk while the recording is played.
type disk struct {
	content map[int][]byte // durable
	pending map[int][]op   // not synced
	names   map[string]int // durable
	renames []op           // changes of folders that are not synced
}

// Cut writes below dir what a disk holds when power fails after the first n changes: what was synced, and of the rest what
// keep says, by pages of 4 KiB and by folder entries.
func (r *Recorder) Cut(dir string, n int, keep Keep) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	d := disk{content: map[int][]byte{}, pending: map[int][]op{}, names: map[string]int{}}
	for _, o := range r.ops[:n] {
		d.play(o)
	}
	d.lose(keep)
	for path, file := range d.names {
		name := filepath.Join(dir, path)
		if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
			return err
		}
		if err := os.WriteFile(name, d.content[file], 0o600); err != nil {
			return fmt.Errorf("cut: %w", err)
		}
	}
	return nil
}

func (d *disk) play(o op) {
	switch o.call {
	case Write, Truncate:
		d.pending[o.file] = append(d.pending[o.file], o)
	case Sync:
		for _, p := range d.pending[o.file] {
			d.content[o.file] = write(d.content[o.file], p, Everything)
		}
		delete(d.pending, o.file)
	case SyncDir:
		var rest []op
		for _, e := range d.renames {
			if in(e.path, o.path) {
				entry(d.names, e)
			} else {
				rest = append(rest, e)
			}
		}
		d.renames = rest
	default:
		d.renames = append(d.renames, o)
	}
}

func in(path, dir string) bool { return filepath.Dir(path) == filepath.Clean(dir) }

// lose decides over everything that is not durable.
func (d *disk) lose(keep Keep) {
	for _, file := range slices.Sorted(maps.Keys(d.pending)) {
		for _, o := range d.pending[file] {
			d.content[file] = write(d.content[file], o, keep)
		}
	}
	for _, e := range d.renames {
		if keep() {
			entry(d.names, e)
		}
	}
}

// write applies one change to a file's content, page by page.
func write(content []byte, o op, keep Keep) []byte {
	if o.call == Truncate {
		if !keep() {
			return content
		}
		if o.size <= int64(len(content)) {
			return content[:o.size:o.size]
		}
		return append(content, make([]byte, o.size-int64(len(content)))...)
	}
	for at := 0; at < len(o.data); {
		off := o.off + int64(at)
		n := min(len(o.data)-at, page-int(off%page))
		if keep() {
			if end := off + int64(n); int64(len(content)) < end {
				content = append(content, make([]byte, end-int64(len(content)))...)
			}
			copy(content[off:], o.data[at:at+n])
		}
		at += n
	}
	return content
}

// String lists the changes, for a test's log.
func (r *Recorder) String() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var b strings.Builder
	for i, o := range r.ops {
		fmt.Fprintf(&b, "%d %s file %d %s %s off %d len %d\n", i, o.call, o.file, o.path, o.to, o.off, len(o.data))
	}
	return b.String()
}
