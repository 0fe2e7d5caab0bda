package boltstore

import (
	"encoding/binary"

	"go.etcd.io/bbolt"

	"example.org/letterbox/store"
)

// counts are the messages that wait in a maildrop and their octets, and the same of what lies in its bin.
type counts struct{ messages, octets, binned, binnedOctets int64 }

func decodeCounts(b []byte) counts {
	r := headReader{b: b}
	if len(b) == 0 {
		return counts{}
	}
	return counts{int64(r.uvarint()), int64(r.uvarint()), int64(r.uvarint()), int64(r.uvarint())}
}

func (c counts) encode() []byte {
	var b []byte
	for _, v := range []int64{c.messages, c.octets, c.binned, c.binnedOctets} {
		b = binary.AppendUvarint(b, uint64(v))
	}
	return b
}

// plus returns the sum of both.
func (c counts) plus(d counts) counts {
	return counts{c.messages + d.messages, c.octets + d.octets, c.binned + d.binned, c.binnedOctets + d.binnedOctets}
}

// counts returns what waits in each maildrop.
func (ix *index) counts() (map[store.MaildropID]counts, error) {
	all := map[store.MaildropID]counts{}
	err := ix.view(func(tx *bbolt.Tx) error {
		return tx.Bucket(bucketDrops).ForEach(func(k, v []byte) error {
			all[store.MaildropID(binary.BigEndian.Uint64(k))] = decodeCounts(v)
			return nil
		})
	})
	return all, err
}
