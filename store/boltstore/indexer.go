package boltstore

import (
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"example.org/letterbox/store"
	"example.org/letterbox/store/seglog"
)

const (
	// indexInterval is how long a durable record may wait for the index when nobody asks for it. Each transaction syncs
	// twice, and meanwhile the log's own sync waits.
	indexInterval = time.Second
	// indexBatch bounds one transaction, so that none stays open for long.
	indexBatch = 16384
	// maxPending bounds the records that wait for the index, and so the memory that they take (about 200 octets each)
	// and the time that replay needs after a kill. Beyond it the log waits.
	maxPending = 4 * indexBatch
)

// indexer applies durable records to the index in the background, in their order.
type indexer struct {
	ix      *index
	wakeUp  func()           // told that something was deleted
	condemn func(error)      // told once when the index can't be written any more
	orphans func([]store.ID) // told of bodies that the index, synced, does not name any more

	mu      sync.Mutex
	changed sync.Cond
	queue   []group
	pending int   // changes in queue
	state   state // behind the last of queue
	flushed state // behind what the index holds
	touched map[store.MaildropID]int
	waiting map[store.MaildropID]*tally // what each maildrop holds, with what is pending
	queued  uint64                      // groups, ever
	applied uint64                      // groups, ever
	urgent  bool
	stopped bool
	err     error

	// For those who must not keep a delivery waiting.
	figures atomic.Pointer[figures]
	tallies atomic.Pointer[tally] // the newest of them

	wake chan struct{}
	done chan struct{}
}

// group is what one fdatasync of the log made durable.
type group struct {
	changes []*change
	after   seglog.Mark
	at      time.Time // when it was durable
}

func newIndexer(ix *index, at state, waiting map[store.MaildropID]counts, condemn func(error), orphans func([]store.ID)) *indexer {
	x := &indexer{
		ix: ix, condemn: condemn, orphans: orphans, state: at, flushed: at, touched: map[store.MaildropID]int{}, wakeUp: func() {},
		waiting: make(map[store.MaildropID]*tally, len(waiting)), wake: make(chan struct{}, 1), done: make(chan struct{}),
	}
	x.changed.L = &x.mu
	for drop, n := range waiting {
		t := x.tally(drop)
		t.messages.Store(n.messages)
		t.octets.Store(n.octets)
	}
	x.publish()
	ix.gentle = true
	return x
}

// add queues changes that are durable. It waits while too many are pending.
func (x *indexer) add(changes []*change, after seglog.Mark) {
	x.mu.Lock()
	for x.pending > maxPending && x.err == nil {
		x.hurry()
		x.changed.Wait()
	}
	// Between the first that waits and so many that a batch is full there is nothing that run would do. Waking it at each
	// group would take a processor from those who wait for the answer.
	news := len(x.queue) == 0 || x.pending < indexBatch && x.pending+len(changes) >= indexBatch
	x.queue = append(x.queue, group{changes, after, time.Now()})
	x.queued++
	x.pending += len(changes)
	x.state.pass(changes, after)
	for _, c := range changes {
		x.touch(c, 1)
		x.weigh(c)
	}
	x.publish()
	x.mu.Unlock()
	if news {
		x.signal()
	}
}

// holds returns what waits in a maildrop, and in all of them together.
func (x *indexer) holds(drop store.MaildropID) (one, all counts) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if t := x.waiting[drop]; t != nil {
		one = t.counts()
	}
	return one, counts{messages: x.state.totals.present(), octets: x.state.totals.octets}
}

// pass moves the state behind a group.
func (s *state) pass(changes []*change, after seglog.Mark) {
	for _, c := range changes {
		s.totals.add(c)
		s.saw(c.id)
	}
	s.mark = after
}

// saw makes sure that no id up to id is minted again.
func (s *state) saw(id store.ID) {
	if string(id[:]) > string(s.lastID[:]) {
		s.lastID = id
	}
}

// touch counts the pending changes of each maildrop.
func (x *indexer) touch(c *change, n int) {
	count := func(drop store.MaildropID) {
		if x.touched[drop] += n; x.touched[drop] == 0 {
			delete(x.touched, drop)
		}
	}
	if !brings(c.kind) {
		count(c.drop)
	}
	for _, r := range c.recipients {
		count(r.drop)
	}
}

func (x *indexer) signal() {
	select {
	case x.wake <- struct{}{}:
	default:
	}
}

func (x *indexer) hurry() {
	x.urgent = true
	x.signal()
}

// settle returns when everything that is pending for drop stands in the index. The zero MaildropID stands for all.
func (x *indexer) settle(drop store.MaildropID) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	if drop != 0 && x.touched[drop] == 0 {
		return nil
	}
	for target := x.queued; x.applied < target && x.err == nil; x.changed.Wait() {
		x.hurry()
	}
	return x.err
}

// snapshot returns the state behind everything that is durable, and how much of it is pending.
func (x *indexer) snapshot() (state, int) {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.state, x.pending
}

// stop applies what is pending and ends run. The log must be closed before.
func (x *indexer) stop() error {
	x.mu.Lock()
	x.stopped = true
	x.hurry()
	x.mu.Unlock()
	<-x.done
	return x.err
}

// run is the goroutine that writes the index.
func (x *indexer) run() {
	defer close(x.done)
	timer := time.NewTimer(indexInterval)
	defer timer.Stop()
	for {
		<-x.wake
		if !x.isUrgent() {
			timer.Reset(indexInterval)
			x.pause(timer.C)
		}
		if !x.flush() {
			return
		}
	}
}

// pause lets changes gather for an interval, or until somebody waits for them.
func (x *indexer) pause(interval <-chan time.Time) {
	for {
		select {
		case <-interval:
			return
		case <-x.wake:
			if x.isUrgent() {
				return
			}
		}
	}
}

func (x *indexer) isUrgent() bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.urgent || x.pending >= indexBatch
}

// flush applies what is queued when it begins, in batches, and tells whether run goes on. What comes meanwhile gathers for
// the next time: chasing the end of the queue would end in transactions of a handful of changes, each with its syncs.
func (x *indexer) flush() bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.urgent = false
	for target := x.queued; x.applied < target && x.err == nil; {
		batch, groups := x.batch()
		at := x.flushed
		at.pass(batch, x.queue[groups-1].after)
		x.mu.Unlock()
		err := x.write(batch, at)
		x.mu.Lock()
		if err != nil {
			err = fmt.Errorf("index: %w", err)
			x.err = err
			x.mu.Unlock() // the mark is a matter of the disk
			x.condemn(err)
			x.mu.Lock()
			break
		}
		x.flushed = at
		if slices.ContainsFunc(batch, func(c *change) bool { return len(c.deleted) > 0 }) {
			x.wakeUp()
		}
		x.retire(batch, groups)
	}
	x.changed.Broadcast()
	if len(x.queue) > 0 { // what came meanwhile
		x.signal()
	}
	return x.err == nil && (!x.stopped || len(x.queue) > 0)
}

// write applies changes in pieces; the position moves with the last.
func (x *indexer) write(changes []*change, at state) error {
	pieces := parts(changes, indexBatch)
	for i, piece := range pieces {
		var after *state
		if i == len(pieces)-1 {
			after = &at
		}
		if i > 0 && x.ix.gentle {
			time.Sleep(rest)
		}
		orphans, err := x.ix.apply(piece, after)
		if err != nil {
			return err
		}
		if len(orphans) > 0 {
			x.orphans(orphans)
		}
	}
	return nil
}

// batch returns the changes of the first groups, up to a bound.
func (x *indexer) batch() (changes []*change, groups int) {
	for _, g := range x.queue {
		if groups > 0 && len(changes)+len(g.changes) > indexBatch {
			break
		}
		changes = append(changes, g.changes...)
		groups++
	}
	return changes, groups
}

// retire takes groups that were applied off the queue.
func (x *indexer) retire(batch []*change, groups int) {
	for _, c := range batch {
		x.touch(c, -1)
	}
	x.applied += uint64(groups)
	x.pending -= len(batch)
	x.queue = append(x.queue[:0], x.queue[groups:]...)
	x.publish()
	x.changed.Broadcast()
}
