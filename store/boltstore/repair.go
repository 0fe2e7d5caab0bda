package boltstore

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"example.org/letterbox/store"
	"example.org/letterbox/store/seglog"
	"example.org/letterbox/store/vfs"
)

// Repair rebuilds the index in dir from the log, leaving out of the log what can't be read, and tells found of each loss.
// What stood in files of its own, large bodies, is kept in the folder salvaged when the record of its message is lost.
// No other process may hold the folder. The store opens afterwards, unless the files that hold no mail are damaged. ctx says who
// is told how far it is, in octets of the log, which is read twice, and ends nothing.
func Repair(ctx context.Context, dir string, found func(store.Finding)) error {
	shown := newShown(ctx, 2*logOctets(dir))
	if err := repairLog(dir, shown, found); err != nil {
		return err
	}
	s, err := Open(dir, Options{salvaged: found, shown: shown})
	if err != nil {
		return err
	}
	shown.end()
	return errors.Join(s.countLoss(), s.Close())
}

// logOctets is the size of the log's files, as far as it can be told.
func logOctets(dir string) (sum int64) {
	entries, _ := os.ReadDir(filepath.Join(dir, "log"))
	for _, e := range entries {
		if info, err := e.Info(); err == nil {
			sum += info.Size()
		}
	}
	return sum
}

func repairLog(dir string, shown *shown, found func(store.Finding)) error {
	if _, err := os.Stat(filepath.Join(dir, identityFile)); errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w: %s", ErrNoStore, dir)
	}
	lock, err := lockFolder(dir)
	if err != nil {
		return err
	}
	defer lock.release() //nolint:errcheck // nothing was written to it
	id, err := loadIdentity(dir)
	if err != nil {
		return err
	}
	before, err := markRepair(dir)
	if err != nil {
		return err
	}
	lost := false
	opt := seglog.Options{FS: vfs.OS{}, Store: id.storeID(), Key: id.Key, Flags: knownFlags, Passed: shown.add}
	err = seglog.Repair(filepath.Join(dir, "log"), knownDurable(dir, id), opt, func(c *seglog.Corrupt) {
		lost = true
		f := store.Finding{Text: c.Error()}
		if c.ID != ([16]byte{}) {
			f.Message = store.ID(c.ID).String()
		}
		found(f)
	})
	if err == nil && !lost && !before {
		err = unmarkRepair(dir)
	}
	if err != nil {
		return err
	}
	if err := os.Remove(filepath.Join(dir, indexFile)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return vfs.OS{}.SyncDir(dir)
}

// knownDurable is the position of the index, which speaks of nothing but durable records; the zero Mark where the index is
// not there or not to be trusted.
func knownDurable(dir string, id identity) seglog.Mark {
	for _, name := range []string{condemnedFile, indexFile} {
		if _, err := os.Stat(filepath.Join(dir, name)); (err == nil) != (name == indexFile) {
			return seglog.Mark{}
		}
	}
	ix, at, err := openIndex(filepath.Join(dir, indexFile), id.storeID())
	if err != nil {
		return seglog.Mark{}
	}
	ix.db.Close() //nolint:errcheck // it is removed next
	return at.mark
}

// countLoss makes the counters agree with what is there, by a record that says how much was lost.
func (s *Store) countLoss() error {
	all, err := s.index.counts()
	if err != nil {
		return err
	}
	var here counts
	for _, n := range all {
		here.messages += n.messages
		here.octets += n.octets
	}
	st, _ := s.indexer.snapshot()
	c := &change{kind: kindLoss, id: s.ids.next(), lost: st.totals.present() - here.messages, freed: st.totals.octets - here.octets}
	if c.lost == 0 && c.freed == 0 {
		return nil
	}
	head := binary.AppendVarint(binary.AppendVarint(nil, c.lost), c.freed)
	return s.append(context.Background(), &seglog.Record{Kind: kindLoss, ID: c.id, Head: head, Tag: c})
}
