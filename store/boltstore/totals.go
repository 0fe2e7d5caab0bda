package boltstore

import "example.org/letterbox/store/seglog"

// totals count entries (one message in one maildrop) since the store was made:
// delivered + imported + restored = present + deleted + expired + removed + lost.
type totals struct {
	delivered, imported, restored, deleted, expired, removed uint64
	octets                                                   int64 // present now
	lost                                                     int64 // what a repair could not save; negative: was found
}

func (t *totals) present() int64 {
	return int64(t.delivered+t.imported+t.restored-t.deleted-t.expired-t.removed) - t.lost
}

// wire is the form in which the log keeps totals in its segment headers.
func (t *totals) wire() seglog.Totals {
	return seglog.Totals{t.delivered, t.imported, t.restored, t.deleted, t.expired, t.removed, uint64(t.octets), uint64(t.lost)}
}

func totalsOf(w seglog.Totals) totals {
	return totals{w[0], w[1], w[2], w[3], w[4], w[5], int64(w[6]), int64(w[7])}
}

// add counts one record.
func (t *totals) add(c *change) {
	switch c.kind {
	case kindMessage:
		t.brought(&t.delivered, c)
	case kindImport:
		t.brought(&t.imported, c)
	case kindRestore:
		t.brought(&t.restored, c)
	case kindDeletion, kindBin:
		t.took(&t.deleted, c)
	case kindRemoval:
		t.took(&t.removed, c)
	case kindExpiry:
		t.took(&t.expired, c)
	case kindLoss:
		t.lost += c.lost
		t.octets -= c.freed
	}
}

func (t *totals) brought(n *uint64, c *change) {
	*n += uint64(len(c.recipients))
	for _, r := range c.recipients {
		t.octets += c.octets + r.prefix
	}
}

func (t *totals) took(n *uint64, c *change) {
	*n += uint64(len(c.deleted))
	t.octets -= c.freed
}
