package boltstore

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"hash/crc32"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"golang.org/x/crypto/blake2b"
)

// reader takes the log apart by what doc.go of this package and of seglog say, and with none of their code.
type reader struct {
	*testing.T
	key, store []byte
	kinds      map[byte]int
	sequence   uint64
	// Of the segment before:
	number   uint64
	chain    uint32
	length   int64
	repaired bool
}

func (r *reader) seal(parts ...[]byte) []byte {
	h, err := blake2b.New256(r.key)
	if err != nil {
		r.Fatal(err)
	}
	for _, p := range parts {
		h.Write(p)
	}
	return h.Sum(nil)[:16]
}

func crc32c(b []byte) uint32 { return crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)) }

func (r *reader) want(what string, got, want any) {
	r.Helper()
	if g, isBytes := got.([]byte); isBytes && bytes.Equal(g, want.([]byte)) || !isBytes && got == want {
		return
	}
	r.Fatalf("%s is %v, want %v", what, got, want)
}

// segment reads a file octet by octet: nothing may be left over.
func (r *reader) segment(number uint64, b []byte) {
	le := binary.LittleEndian
	head := b[:192]
	r.want("magic", string(head[:8]), "LBSEGLOG")
	r.want("format version", le.Uint32(head[8:]), uint32(1))
	r.want("store", head[16:32], r.store)
	r.want("number", le.Uint64(head[32:]), number)
	r.want("zero", head[160:176], make([]byte, 16))
	r.want("seal", head[176:192], r.seal(head[:176]))
	if le.Uint64(head[112:]) == r.number && r.number > 0 && !r.repaired {
		r.want("length of the segment before", int64(le.Uint64(head[120:])), r.length)
		r.want("chain of the segment before", le.Uint32(head[128:]), r.chain)
	}
	r.number, r.repaired, r.chain, r.length = number, le.Uint32(head[12:]) == 1, 0, int64(len(b))
	for off := 192; off < len(b); {
		off += r.record(number, off, b[off:])
	}
}

// record reads one record and returns how long it is.
func (r *reader) record(number uint64, off int, b []byte) int {
	le := binary.LittleEndian
	head := b[:80]
	r.want("magic", string(head[:4]), "LBR1")
	r.want("version", head[4], byte(1))
	length, headLength := le.Uint64(head[8:]), le.Uint32(head[48:])
	own, body := b[80:80+headLength], b[80+uint64(headLength):80+length]
	r.want("checksum of the head", le.Uint32(head[52:]), crc32c(own))
	r.want("checksum of the body", le.Uint32(head[56:]), crc32c(body))
	r.want("zero", le.Uint32(head[60:]), uint32(0))
	place := le.AppendUint64(le.AppendUint64(nil, number), uint64(off))
	r.want("seal", head[64:80], r.seal(head[:64], place))
	if sequence := le.Uint64(head[32:]); sequence <= r.sequence {
		r.Fatalf("sequence number %d behind %d", sequence, r.sequence)
	} else {
		r.sequence = sequence
	}
	r.chain = crc32.Update(r.chain, crc32.MakeTable(crc32.Castagnoli), head)
	r.head(head[5], le.Uint16(head[6:]), own)
	return 80 + int(length)
}

// head reads what boltstore's doc.go says of a record's head.
func (r *reader) head(kind byte, flags uint16, b []byte) {
	number := func() uint64 {
		v, n := binary.Uvarint(b)
		if n <= 0 {
			r.Fatalf("kind %d: no number where one should be", kind)
		}
		b = b[n:]
		return v
	}
	skip := func(n uint64) { b = b[n:] }
	r.kinds[kind]++
	switch kind {
	case 1, 4, 10, 11:
		for range map[byte]int{4: 2, 10: 1}[kind] {
			number()
		}
		for range 3 {
			skip(number())
		}
		for range number() {
			skip(8)
			skip(number())
			if flags&4 != 0 {
				number()
			}
		}
		if flags&1 != 0 {
			number()
			skip(4)
		}
		if flags&2 != 0 {
			skip(number())
		}
	case 8, 12:
		skip(8)
		fallthrough
	case 2, 3, 5, 7, 9:
		skip(8)
		number()
		for range number() {
			number()
		}
	case 6:
		for range 2 {
			number() // a signed varint is as long
		}
	default:
		r.Fatalf("kind %d", kind)
	}
	if len(b) != 0 {
		r.Fatalf("kind %d has %d octets too many", kind, len(b))
	}
}

// TestFormatAsDescribed: whoever has only the description can read every octet of the log.
func TestFormatAsDescribed(t *testing.T) {
	for format, kinds := range map[string]byte{formats()[0]: 7, formats()[1]: 12} {
		t.Run(filepath.Base(format), func(t *testing.T) { readsFormat(t, format, kinds) })
	}
}

func readsFormat(t *testing.T, format string, kinds byte) {
	var id struct{ Store, Key string }
	text, err := os.ReadFile(filepath.Join(format, "store", "identity"))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &id); err != nil {
		t.Fatal(err)
	}
	r := &reader{T: t, kinds: map[byte]int{}}
	r.store, _ = hex.DecodeString(id.Store)
	r.key, _ = hex.DecodeString(id.Key)
	names, err := filepath.Glob(filepath.Join(format, "store", "log", "*.seg"))
	if err != nil || len(names) < 3 {
		t.Fatal(names, err)
	}
	slices.Sort(names)
	for _, name := range names {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		var number uint64
		for _, c := range filepath.Base(name)[:16] {
			number = number*10 + uint64(c-'0')
		}
		r.segment(number, b)
	}
	for kind := byte(1); kind <= kinds; kind++ {
		if r.kinds[kind] == 0 {
			t.Errorf("no record of kind %d", kind)
		}
	}
}
