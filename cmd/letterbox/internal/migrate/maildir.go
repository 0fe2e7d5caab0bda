package migrate

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"example.org/letterbox/store"
)

// maildir is the mail of one maildir, without its subfolders: POP3 servers show no others.
type maildir struct {
	path  string
	files []maildirFile
	known *known
}

type maildirFile struct {
	sub, name, base string
	rank, time      int64
}

// OpenMaildir lists the maildir at path, which may be in use, and reads what Dovecot or Courier keep there about UIDLs: where both
// do, that of which was written last. The mail that is listed there comes first, in that order, and the rest by its time.
func OpenMaildir(path string) (Source, error) {
	m := &maildir{path: path}
	listed := map[string]bool{}
	// In the order in which mail moves, which it does while we look; and cur once more, since a file that gets other flags, and
	// with them another name, may be hidden from a listing under way.
	for _, sub := range []string{"new", "cur", "cur"} {
		entries, err := os.ReadDir(filepath.Join(path, sub))
		if errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("%s is no maildir: it has no folder %s", path, sub)
		}
		if err != nil {
			return nil, access(path, err)
		}
		for _, e := range entries {
			name, base := e.Name(), baseName(e.Name())
			if name[0] != '.' && !e.IsDir() && !listed[base] {
				listed[base] = true
				m.files = append(m.files, maildirFile{sub: sub, name: name, base: base})
			}
		}
	}
	var err error
	if m.known, err = readKnown(path); err != nil {
		return nil, access(path, err)
	}
	m.sort()
	return m, nil
}

// readKnown reads the list of UIDLs that was written last, if there is one.
func readKnown(path string) (*known, error) {
	var name string
	var newest fs.FileInfo
	for _, candidate := range []string{"dovecot-uidlist", "courierpop3dsizelist"} {
		info, err := os.Stat(filepath.Join(path, candidate))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		if newest == nil || info.ModTime().After(newest.ModTime()) {
			name, newest = candidate, info
		}
	}
	if newest == nil {
		return newKnown(), nil
	}
	f, err := os.Open(filepath.Join(path, name))
	if err != nil {
		return nil, err
	}
	defer f.Close() //nolint:errcheck // it was read only
	read := readUIDList
	if name == "courierpop3dsizelist" {
		read = readSizeList
	}
	k, err := read(f)
	if err != nil {
		return nil, fmt.Errorf("%s can't be used: %w; mend it, or take it away: then clients fetch all mail once more", filepath.Join(path, name), err)
	}
	return k, nil
}

func (m *maildir) sort() {
	for i := range m.files {
		f := &m.files[i]
		f.rank = 1 << 62
		if rank, ok := m.known.rank[f.base]; ok {
			f.rank = rank
		}
		seconds, _, _ := strings.Cut(f.base, ".")
		f.time, _ = strconv.ParseInt(seconds, 10, 64)
	}
	slices.SortFunc(m.files, func(a, b maildirFile) int {
		return cmp.Or(cmp.Compare(a.rank, b.rank), cmp.Compare(a.time, b.time), strings.Compare(a.base, b.base))
	})
}

// Len implements Source.
func (m *maildir) Len() int { return len(m.files) }

// Close implements Source.
func (m *maildir) Close() error { return nil }

// Message implements Source. A message that no list names has never been shown by POP3, so any stable UIDL will do: the part of
// the file's name that makes it unique.
func (m *maildir) Message(i int) Message {
	f := m.files[i]
	own, _, _ := strings.Cut(f.base, ",")
	if !store.IsUIDL(own) {
		own = ""
	}
	return Message{
		Name: filepath.Join(f.sub, f.name), UIDL: m.known.uidl[f.base], Own: own,
		Read: func(w io.Writer) error { return m.copy(f, w) },
	}
}

// copy copies a file, also one that a server has given another name meanwhile: it moves from new to cur, and its flags change.
func (m *maildir) copy(f maildirFile, w io.Writer) error {
	path := filepath.Join(m.path, f.sub, f.name)
	file, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		if path, err = m.renamed(f); err == nil {
			file, err = os.Open(path)
		}
	}
	if err != nil {
		return access(path, err)
	}
	defer file.Close() //nolint:errcheck // it was read only
	_, err = io.Copy(w, file)
	return err
}

func (m *maildir) renamed(f maildirFile) (string, error) {
	entries, err := os.ReadDir(filepath.Join(m.path, "cur"))
	if err != nil {
		return "", err
	}
	for _, e := range entries {
		if baseName(e.Name()) == f.base {
			return filepath.Join(m.path, "cur", e.Name()), nil
		}
	}
	return "", errors.New("it is gone meanwhile")
}
