package store

import (
	"errors"
	"time"
)

// ID names one message for ever: a ULID, 48 bits of Unix milliseconds and 80 bits that make it unique. Its order is the
// order in which one store began its messages.
type ID [16]byte

const crockford = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"

// String returns the ID's 26 characters of Crockford's base 32, which sort as the ID does.
func (id ID) String() string {
	var text [26]byte
	return string(id.Append(text[:0]))
}

// Append appends what String returns to b.
func (id ID) Append(b []byte) []byte {
	var text [26]byte
	// 128 bits in groups of 5 from the right; the first character carries the 3 bits that are left.
	var acc uint32
	bits, at := 0, len(text)
	for i := len(id) - 1; i >= 0; i-- {
		acc |= uint32(id[i]) << bits
		for bits += 8; bits >= 5; bits -= 5 {
			at--
			text[at] = crockford[acc&31]
			acc >>= 5
		}
	}
	text[0] = crockford[acc&31]
	return append(b, text[:]...)
}

// ErrID is what ParseID returns for a text that is no ID.
var ErrID = errors.New("not a message id: want 26 characters as in 01ARZ3NDEKTSV4RRFFQ69G5FAV")

// ParseID reads what String wrote, in either case.
func ParseID(s string) (ID, error) {
	var id ID
	if len(s) != 26 || s[0] > '7' {
		return id, ErrID
	}
	var acc uint32
	bits, at := 0, len(id)
	for i := len(s) - 1; i >= 0; i-- {
		v := crockfordValue(s[i])
		if v < 0 {
			return ID{}, ErrID
		}
		acc |= uint32(v) << bits
		for bits += 5; bits >= 8 && at > 0; bits -= 8 {
			at--
			id[at] = byte(acc)
			acc >>= 8
		}
	}
	return id, nil
}

func crockfordValue(c byte) int {
	if 'a' <= c && c <= 'z' {
		c -= 'a' - 'A'
	}
	for i := 0; i < len(crockford); i++ {
		if crockford[i] == c {
			return i
		}
	}
	return -1
}

// MarshalText implements encoding.TextMarshaler.
func (id ID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (id *ID) UnmarshalText(text []byte) (err error) {
	*id, err = ParseID(string(text))
	return err
}

// Time is when the message began, to the millisecond, by the store's clock.
func (id ID) Time() time.Time {
	var ms int64
	for _, b := range id[:6] {
		ms = ms<<8 | int64(b)
	}
	return time.UnixMilli(ms)
}

// IsZero tells whether id names nothing.
func (id ID) IsZero() bool { return id == ID{} }
