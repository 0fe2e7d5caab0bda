package boltstore

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"

	"go.etcd.io/bbolt"
)

// usage is what the index knows of one segment of the log: a value of bucketSegments.
type usage struct {
	live      int64  // octets of records whose message somebody has
	deletions int64  // octets of records that delete
	first     uint64 // smallest and largest sequence number of the messages that it ever held
	last      uint64
	upTo      int64 // offset behind the last deletion that was counted, so that none is counted twice
}

func segmentKey(number uint64) []byte { return binary.BigEndian.AppendUint64(nil, number) }

func (u *usage) encode() []byte {
	var b []byte
	for _, v := range []uint64{uint64(u.live), uint64(u.deletions), u.first, u.last, uint64(u.upTo)} {
		b = binary.AppendUvarint(b, v)
	}
	return b
}

func (u *usage) decode(b []byte) bool {
	r := headReader{b: b}
	u.live, u.deletions, u.first, u.last, u.upTo = int64(r.uvarint()), int64(r.uvarint()), r.uvarint(), r.uvarint(), int64(r.uvarint())
	return !r.bad
}

// message counts a record that brings a message.
func (u *usage) message(c *change) {
	u.live += c.size
	if u.first == 0 || c.seq < u.first {
		u.first = c.seq
	}
	u.last = max(u.last, c.seq)
}

// control counts a record that deletes.
func (u *usage) control(c *change) {
	if c.pos.Offset >= u.upTo {
		u.deletions += c.size
		u.upTo = c.pos.Offset + c.size
	}
}

// held tells whether the segment may hold a copy of the message with this sequence number.
func (u *usage) held(seq uint64) bool { return u.first <= seq && seq <= u.last }

// use returns the usage of a segment, for this transaction to change.
func (a *applier) use(number uint64) (*usage, error) {
	if u := a.usage[number]; u != nil {
		return u, nil
	}
	u := new(usage)
	if v := a.segments.Get(segmentKey(number)); v != nil && !u.decode(v) {
		return nil, fmt.Errorf("%w: the usage of segment %d can't be read", errIndex, number)
	}
	a.usage[number] = u
	return u, nil
}

// usage returns what is known of all segments.
func (ix *index) usage() (map[uint64]usage, error) {
	all := map[uint64]usage{}
	err := ix.view(func(tx *bbolt.Tx) error {
		return tx.Bucket(bucketSegments).ForEach(func(k, v []byte) error {
			var u usage
			if !u.decode(v) {
				return fmt.Errorf("%w: the usage of a segment can't be read", errIndex)
			}
			all[binary.BigEndian.Uint64(k)] = u
			return nil
		})
	})
	return all, err
}

// forget drops what is known of segments that the log does not have.
func (ix *index) forget() error {
	return ix.update(func(tx *bbolt.Tx) error {
		b := tx.Bucket(bucketSegments)
		var gone [][]byte
		err := b.ForEach(func(k, _ []byte) error {
			if !ix.has(binary.BigEndian.Uint64(k)) {
				gone = append(gone, bytes.Clone(k))
			}
			return nil
		})
		for _, k := range gone {
			err = errors.Join(err, b.Delete(k))
		}
		return err
	})
}
