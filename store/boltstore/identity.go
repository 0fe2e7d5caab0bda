package boltstore

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"example.org/letterbox/store/vfs"
)

// storeFormat is the version of the folder as a whole. Version 2 has the kinds of records from 8 on; a folder of version 1 is
// one of version 2 without them.
const storeFormat = 2

// identity is what makes a folder a store: written once, before anything else.
type identity struct {
	Format int      `json:"format"`
	Store  hexBytes `json:"store"` // 16 octets, stands in each file
	Key    hexBytes `json:"key"`   // 32 octets, seals the log
}

type hexBytes []byte

// MarshalText implements encoding.TextMarshaler.
func (h hexBytes) MarshalText() ([]byte, error) { return []byte(hex.EncodeToString(h)), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (h *hexBytes) UnmarshalText(text []byte) (err error) {
	*h, err = hex.DecodeString(string(text))
	return err
}

func (id identity) storeID() (b [16]byte) {
	copy(b[:], id.Store)
	return b
}

const identityFile = "identity"

// loadIdentity reads the store's identity. fs.ErrNotExist: there is none.
func loadIdentity(dir string) (identity, error) {
	var id identity
	text, err := os.ReadFile(filepath.Join(dir, identityFile))
	if err != nil {
		return id, err
	}
	if err := json.Unmarshal(text, &id); err != nil {
		return id, fmt.Errorf("%s can't be read: %w", filepath.Join(dir, identityFile), err)
	}
	if id.Format < 1 || id.Format > storeFormat {
		return id, fmt.Errorf("the store in %s has format %d, this program knows %d: start the version that wrote it", dir, id.Format, storeFormat)
	}
	if len(id.Store) != 16 || len(id.Key) != 32 {
		return id, fmt.Errorf("%s is damaged", filepath.Join(dir, identityFile))
	}
	return id, nil
}

// makeIdentity makes a new store's identity durable. It refuses a folder that holds mail of another one.
func makeIdentity(fsys vfs.FS, dir string) (identity, error) {
	id := identity{Format: storeFormat, Store: make([]byte, 16), Key: make([]byte, 32)}
	for _, left := range []string{"log", "accounts.db"} {
		if _, err := os.Stat(filepath.Join(dir, left)); !errors.Is(err, fs.ErrNotExist) {
			return id, fmt.Errorf("%s holds %s but no file named %s: part of a store is missing; restore that file", dir, left, identityFile)
		}
	}
	rand.Read(id.Store) //nolint:errcheck // it never fails
	rand.Read(id.Key)   //nolint:errcheck // it never fails
	return id, id.save(fsys, dir)
}

// upgrade makes a folder of an earlier version one of ours: an older program refuses it from then on.
func (id *identity) upgrade(fsys vfs.FS, dir string) error {
	if id.Format == storeFormat {
		return nil
	}
	id.Format = storeFormat
	return id.save(fsys, dir)
}

func (id *identity) save(fsys vfs.FS, dir string) error {
	text, err := json.Marshal(id)
	if err != nil {
		return err
	}
	return vfs.WriteFile(fsys, filepath.Join(dir, identityFile), append(text, '\n'))
}
