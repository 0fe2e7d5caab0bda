package boltstore

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"

	"example.org/letterbox/store"
)

// A backup is one stream: a header, a record for each message in the order of arrival, a record with the facts of accounts.db,
// and an end. Nothing in it depends on where it stands or on when it was made, so that programs which keep many backups find
// what two of them have in common. Numbers are little endian, checksums CRC-32C.
//
//	header  "LBBACKUP", format version (4), zero (4), id of the store (16)
//	record  "LBB1", kind (1), zero (1), flags (2), length of the head (4), checksum of head and body (4), length of the body
//	        (8), id (16), sequence number (8), checksum of the 48 octets before (4); then head and body
//
//	kind M  a message: the head as in the log, for those who have it, with the flags that are said; the body whole
//	kind A  the facts: for each key of accounts.db but for its format: length and octets of the bucket, of the key, of the
//	        value (uvarints). No body
//	kind E  the end: number of messages and of entries, chain of the records (8 each): the CRC-32C of all their headers
const (
	backupMagic   = "LBBACKUP"
	backupVersion = 1
	backupHeader  = 32
	backupRecord  = 52

	backupMessage  = 'M'
	backupAccounts = 'A'
	backupEnd      = 'E'

	// maxBackupHead bounds a head, which is read into memory: the facts of a million accounts fit.
	maxBackupHead = 1 << 30
)

// ErrBackup means that a file is no backup, or not all of one.
var ErrBackup = errors.New("not a whole backup")

// backupItem is one record of a backup.
type backupItem struct {
	kind  byte
	flags uint16
	id    store.ID
	seq   uint64
	head  []byte
	size  int64  // of the body
	sum   uint32 // of head and body
}

func (b *backupItem) encode() []byte {
	le := binary.LittleEndian
	buf := make([]byte, backupRecord)
	copy(buf, "LBB1")
	buf[4] = b.kind
	le.PutUint16(buf[6:], b.flags)
	le.PutUint32(buf[8:], uint32(len(b.head)))
	le.PutUint32(buf[12:], b.sum)
	le.PutUint64(buf[16:], uint64(b.size))
	copy(buf[24:40], b.id[:])
	le.PutUint64(buf[40:], b.seq)
	le.PutUint32(buf[48:], crc32.Checksum(buf[:48], castagnoli()))
	return buf
}

// backupWriter writes a backup in order, in many small pieces.
type backupWriter struct {
	w      io.Writer
	chain  uint32
	buf    []byte // for bodies
	octets int64
}

func newBackupWriter(w io.Writer, storeID [16]byte) (*backupWriter, error) {
	b := &backupWriter{w: w, buf: make([]byte, 256<<10), octets: backupHeader}
	head := make([]byte, backupHeader)
	copy(head, backupMagic)
	binary.LittleEndian.PutUint32(head[8:], backupVersion)
	copy(head[16:], storeID[:])
	_, err := b.w.Write(head)
	return b, err
}

// put writes one record. The body is read twice, unless it lies in memory: its checksum stands in front of it.
func (b *backupWriter) put(item *backupItem, body io.ReaderAt) error {
	pieces := func(f func([]byte) error) error { return b.each(body, item.size, f) }
	if held, ok := body.(interface{ Body() ([]byte, bool) }); ok {
		if all, ok := held.Body(); ok && int64(len(all)) == item.size {
			pieces = func(f func([]byte) error) error { return f(all) }
		}
	}
	item.sum = crc32.Checksum(item.head, castagnoli())
	err := pieces(func(p []byte) error {
		item.sum = crc32.Update(item.sum, castagnoli(), p)
		return nil
	})
	if err != nil {
		return err
	}
	header := item.encode()
	b.chain = crc32.Update(b.chain, castagnoli(), header)
	b.octets += int64(len(header)+len(item.head)) + item.size
	for _, p := range [][]byte{header, item.head} {
		if _, err := b.w.Write(p); err != nil {
			return err
		}
	}
	return pieces(func(p []byte) error {
		_, err := b.w.Write(p)
		return err
	})
}

// each calls f for the pieces of a body.
func (b *backupWriter) each(body io.ReaderAt, size int64, f func([]byte) error) error {
	for off := int64(0); off < size; {
		piece := b.buf[:min(int64(len(b.buf)), size-off)]
		if n, err := body.ReadAt(piece, off); n < len(piece) {
			return fmt.Errorf("a body broke off: %w", err)
		}
		if err := f(piece); err != nil {
			return err
		}
		off += int64(len(piece))
	}
	return nil
}

func (b *backupWriter) finish(messages, entries int64) error {
	le := binary.LittleEndian
	head := le.AppendUint64(le.AppendUint64(le.AppendUint64(nil, uint64(messages)), uint64(entries)), uint64(b.chain))
	return b.put(&backupItem{kind: backupEnd, head: head}, nil)
}

// backupReader reads a backup in order, and checks all of it.
type backupReader struct {
	r     io.Reader
	store [16]byte
	chain uint32

	left   int64 // of the body under way
	sum    uint32
	want   uint32
	items  int64
	octets int64

	raw  [backupRecord]byte // of one record, kept for the next one
	item backupItem
	head []byte // keptHead octets
}

// keptHead is the size up to which a head is read into the same memory each time.
const keptHead = 64 << 10

// newBackupReader reads r in many small pieces.
func newBackupReader(r io.Reader) (*backupReader, error) {
	b := &backupReader{r: r, octets: backupHeader, head: make([]byte, keptHead)}
	head := make([]byte, backupHeader)
	if _, err := io.ReadFull(b.r, head); err != nil || string(head[:8]) != backupMagic {
		return nil, fmt.Errorf("%w: it does not begin as one", ErrBackup)
	}
	if v := binary.LittleEndian.Uint32(head[8:]); v != backupVersion {
		return nil, fmt.Errorf("%w: it has format version %d, this program knows %d: use the version that wrote it", ErrBackup, v, backupVersion)
	}
	copy(b.store[:], head[16:])
	return b, nil
}

func (b *backupReader) broken(format string, args ...any) error {
	return fmt.Errorf("%w: record %d %s", ErrBackup, b.items, fmt.Sprintf(format, args...))
}

// cutOff says that the backup ends within a record, or why it can't be read on.
func (b *backupReader) cutOff(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return b.broken("is cut off")
	}
	return b.broken("can't be read: %v", err)
}

// next returns the next record, valid until the next call; its body must be read to its end with Read before that. The end has been checked
// when it comes.
func (b *backupReader) next() (*backupItem, error) {
	le := binary.LittleEndian
	raw, item := b.raw[:], &b.item
	b.items++
	if _, err := io.ReadFull(b.r, raw); err != nil {
		return nil, b.cutOff(err)
	}
	if string(raw[:4]) != "LBB1" || le.Uint32(raw[48:]) != crc32.Checksum(raw[:48], castagnoli()) {
		return nil, b.broken("has a damaged header")
	}
	*item = backupItem{kind: raw[4], flags: le.Uint16(raw[6:]), sum: le.Uint32(raw[12:]), size: int64(le.Uint64(raw[16:])), seq: le.Uint64(raw[40:])}
	copy(item.id[:], raw[24:])
	length := le.Uint32(raw[8:])
	if length > maxBackupHead || item.size < 0 {
		return nil, b.broken("has lengths that can't be")
	}
	head, err := b.readHead(int64(length))
	if err != nil {
		return nil, b.cutOff(err)
	}
	item.head = head
	b.octets += int64(backupRecord) + int64(length) + item.size
	b.sum, b.want, b.left = crc32.Checksum(head, castagnoli()), item.sum, item.size
	if b.left == 0 && b.sum != b.want {
		return nil, b.broken("is damaged")
	}
	if item.kind == backupEnd {
		if len(head) != 24 || uint32(le.Uint64(head[16:])) != b.chain {
			return nil, b.broken("is an end that does not fit: something is missing")
		}
		return item, nil
	}
	b.chain = crc32.Update(b.chain, castagnoli(), raw)
	return item, nil
}

// readHead reads n octets; memory grows only with what has come.
func (b *backupReader) readHead(n int64) (head []byte, err error) {
	if n <= int64(len(b.head)) {
		head = b.head[:n]
		_, err = io.ReadFull(b.r, head)
		return head, err
	}
	head, err = io.ReadAll(io.LimitReader(b.r, n))
	if err == nil && int64(len(head)) < n {
		err = io.ErrUnexpectedEOF
	}
	return head, err
}

// Read reads from the body of the record that next returned, and checks it at its end.
func (b *backupReader) Read(p []byte) (int, error) {
	if b.left == 0 {
		return 0, io.EOF
	}
	n, err := b.r.Read(p[:min(int64(len(p)), b.left)])
	b.left -= int64(n)
	b.sum = crc32.Update(b.sum, castagnoli(), p[:n])
	switch {
	case errors.Is(err, io.EOF) && b.left > 0:
		err = b.broken("is cut off")
	case b.left == 0 && b.sum != b.want:
		err = b.broken("is damaged")
	case errors.Is(err, io.EOF):
		err = nil
	}
	return n, err
}

// body reads the whole body of the record that next returned, of which nothing was read yet, and checks it: into room, unless it lies in
// the memory of who reads ahead. It is valid until the next call.
func (b *backupReader) body(room []byte) ([]byte, error) {
	if ahead, ok := b.r.(*inputAhead); ok {
		if body, ok := ahead.take(b.left); ok {
			b.left, b.sum = 0, crc32.Update(b.sum, castagnoli(), body)
			if b.sum != b.want {
				return nil, b.broken("is damaged")
			}
			return body, nil
		}
	}
	body := room[:b.left]
	for rest := body; len(rest) > 0; { // io.ReadFull would leave out the error that comes with the last octets: they are damaged
		n, err := b.Read(rest)
		if err != nil {
			return nil, err
		}
		rest = rest[n:]
	}
	return body, nil
}
