package history

import (
	"errors"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"example.org/letterbox/store"
	"example.org/letterbox/store/vfs"
)

const (
	// maxWaiting bounds the lines that wait to be written, in octets; and once half of it is spent they are written.
	maxWaiting = 4 << 20
	// keptBuffer is the largest buffer that is kept for the next lines.
	keptBuffer = 1 << 20
	// maxFetching bounds the messages that wait to become lines, at 16 octets each.
	maxFetching = 64 << 10
	// defaultInterval is how long a line waits.
	defaultInterval = time.Second
)

// Policy says how much history is kept.
type Policy struct {
	For   time.Duration // 0: none
	Bytes int64         // of all files
}

// Options configure a Log.
type Options struct {
	FS     vfs.FS
	Now    func() time.Time
	Policy Policy
	Tight  func() bool // the disk is almost full: nothing is written
	Failed func(error) // told of the first write that fails, and of the first after one that did not

	interval time.Duration // for tests
}

// Log is the history of one store. Its methods may be called by any number of goroutines, and those that note something never
// wait for the disk.
type Log struct {
	dir    string
	opt    Options
	policy atomic.Pointer[Policy]

	mu       sync.Mutex // of what waits
	waiting  [2][]byte  // lines, by series
	refused  refusals
	fetching map[session]*store.Event
	fetched  int // messages in these
	awake    bool
	closed   bool

	wake, full chan struct{}
	stop, done chan struct{}

	dropped atomic.Uint64
	bytes   atomic.Int64

	writing sync.Mutex // of the files
	series  [2]series
	spare   [2][]byte
	failing bool
}

// The indexes of the series.
const (
	ofMail = iota
	ofRefused
)

// session is a POP3 session on an account.
type session struct{ id, account string }

// Open opens the history in a folder, which is made with the first line. The error is one of looking what is there; the Log
// can be used all the same, and Close must follow.
func Open(dir string, o Options) (*Log, error) {
	if o.interval == 0 {
		o.interval = defaultInterval
	}
	if o.Tight == nil {
		o.Tight = func() bool { return false }
	}
	if o.Failed == nil {
		o.Failed = func(error) {}
	}
	l := &Log{
		dir: dir, opt: o, wake: make(chan struct{}, 1), full: make(chan struct{}, 1), stop: make(chan struct{}), done: make(chan struct{}),
		fetching: map[session]*store.Event{},
	}
	l.SetPolicy(o.Policy)
	var errs []error
	for i, kind := range []string{mailSeries, refusedSeries} {
		l.series[i] = series{fs: o.FS, dir: dir, kind: kind}
		errs = append(errs, l.series[i].load())
	}
	l.measure()
	go l.run()
	return l, errors.Join(errs...)
}

// SetPolicy replaces the policy. What it does not want any more goes with the next line, and with Expire.
func (l *Log) SetPolicy(p Policy) { l.policy.Store(&p) }

// On tells whether a history is kept.
func (l *Log) On() bool { return l.policy.Load().For > 0 }

// Bytes is the size of all files.
func (l *Log) Bytes() int64 { return l.bytes.Load() }

// Dropped is how many lines could not be written.
func (l *Log) Dropped() uint64 { return l.dropped.Load() }

// Add notes an event of mail that was taken. Its time is set, and its addresses made canonical.
func (l *Log) Add(e store.Event) {
	if !l.On() {
		return
	}
	e.Time = l.opt.Now()
	if e.Kind == store.EventAccepted {
		e.From = reversePath(e.From)
	}
	e.To = canonicals(e.To)
	l.mu.Lock()
	defer l.mu.Unlock()
	if e.Kind == store.EventDeleted && len(e.Accounts) > 0 { // behind what the session read
		key := session{e.Session, e.Accounts[0]}
		if read := l.fetching[key]; read != nil {
			l.retrieved(key, read)
		}
	}
	l.put(ofMail, &e)
}

// Refused notes a refusal.
func (l *Log) Refused(r store.Refusal) {
	if !l.On() {
		return
	}
	e := store.Event{
		Time: l.opt.Now(), Kind: store.EventRefused, Session: cut(r.Session, maxWord), Remote: Remote(r.Peer),
		From: cut(reversePath(r.From), store.MaxPath), To: canonicals(r.To), Octets: r.Octets, MessageID: cut(r.MessageID, store.MaxMessageID),
		Verb: cut(r.Verb, maxWord), Code: r.Code, Reason: cut(r.Reason, maxWord),
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.refused.add(&e) {
		l.put(ofRefused, &e)
	}
	l.dropped.Add(l.refused.dropped)
	l.refused.dropped = 0
	l.rouse()
}

// cut returns the beginning of a text that is kept for a while.
func cut(text string, most int) string {
	if len(text) <= most {
		return text
	}
	return string([]byte(text[:most])) // not the whole one's memory
}

// Remote is how a client's address is written; empty where it is invalid.
func Remote(peer netip.Addr) string {
	if !peer.IsValid() {
		return ""
	}
	return peer.Unmap().WithZone("").String()
}

// Retrieved notes that a session read a message of an account to its end. What it reads within a moment becomes one line.
func (l *Log) Retrieved(sid string, peer netip.Addr, account string, id store.ID) {
	if !l.On() {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.fetched >= maxFetching {
		l.dropped.Add(1)
		return
	}
	key := session{sid, account}
	e := l.fetching[key]
	if e == nil {
		e = &store.Event{Kind: store.EventRetrieved, Session: sid, Remote: Remote(peer), Accounts: []string{account}}
		l.fetching[key] = e
	}
	e.Time = l.opt.Now()
	e.Messages = append(e.Messages, id)
	l.fetched++
	if len(e.Messages) == maxIDs {
		l.retrieved(key, e)
	}
	l.rouse()
}

// retrieved puts what a session read among the lines. The lock is held.
func (l *Log) retrieved(key session, e *store.Event) {
	l.put(ofMail, e)
	l.fetched -= len(e.Messages)
	delete(l.fetching, key)
}

// put encodes an event among the lines that wait, if there is room. The lock is held.
func (l *Log) put(which int, e *store.Event) {
	before := len(l.waiting[which])
	b := appendEvent(l.waiting[which], e)
	if len(l.waiting[ofMail])+len(l.waiting[ofRefused])-before+len(b) > maxWaiting || l.closed {
		l.waiting[which] = b[:before]
		l.dropped.Add(1)
	} else {
		l.waiting[which] = b
	}
	l.rouse()
}

// rouse makes the writer look within an interval, or at once where half of the room is spent. The lock is held.
func (l *Log) rouse() {
	if !l.awake {
		l.awake = true
		l.wake <- struct{}{} // the writer sleeps, so there is room
	}
	if len(l.waiting[ofMail])+len(l.waiting[ofRefused]) > maxWaiting/2 || l.fetched > maxFetching/2 {
		select {
		case l.full <- struct{}{}:
		default:
		}
	}
}
