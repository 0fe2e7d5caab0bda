package boltstore

import (
	"sync/atomic"
	"time"

	"example.org/letterbox/store"
)

// figures is what the index and what is pending come to. One that was published never changes.
type figures struct {
	totals  totals
	pending int
	since   time.Time // when the oldest pending group became durable; zero: nothing is pending
}

// tally is what waits in one maildrop. The indexer's lock is held by those who change it, and not by those who read. There is
// one for each maildrop that held mail since the start, of some 50 octets.
type tally struct {
	drop             store.MaildropID
	messages, octets atomic.Int64
	older            *tally
}

func (t *tally) counts() counts { return counts{messages: t.messages.Load(), octets: t.octets.Load()} }

// publish lets those see how things stand who take no lock. The lock is held.
func (x *indexer) publish() {
	f := &figures{totals: x.state.totals, pending: x.pending}
	if len(x.queue) > 0 {
		f.since = x.queue[0].at
	}
	x.figures.Store(f)
}

// tally returns what is counted of a maildrop. The lock is held.
func (x *indexer) tally(drop store.MaildropID) *tally {
	t := x.waiting[drop]
	if t == nil {
		t = &tally{drop: drop, older: x.tallies.Load()}
		x.waiting[drop] = t
		x.tallies.Store(t)
	}
	return t
}

// weigh moves the counts of the maildrops that a change is about, as the index will.
func (x *indexer) weigh(c *change) {
	add := func(drop store.MaildropID, messages, octets int64) {
		t := x.tally(drop)
		t.octets.Add(octets)
		if t.messages.Add(messages) == 0 {
			t.octets.Store(0)
		}
	}
	switch c.kind {
	case kindMessage, kindImport, kindRestore:
		for _, r := range c.recipients {
			add(r.drop, 1, c.octets+r.prefix)
		}
	case kindDeletion, kindRemoval, kindExpiry, kindBin:
		add(c.drop, -int64(len(c.deleted)), -c.freed)
	}
}

// tallied calls each with what waits in every maildrop that holds mail. It takes no lock: of what comes and goes meanwhile
// some is counted and some is not.
func (x *indexer) tallied(each func(store.MaildropID, counts)) {
	for t := x.tallies.Load(); t != nil; t = t.older {
		if n := t.counts(); n.messages > 0 {
			each(t.drop, n)
		}
	}
}
