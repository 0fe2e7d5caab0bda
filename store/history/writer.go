package history

import (
	"bytes"
	"errors"
	"time"

	"example.org/letterbox/store"
)

// run writes until Close.
func (l *Log) run() {
	defer close(l.done)
	for {
		select {
		case <-l.stop:
			return
		case <-l.wake:
		}
		tick := time.NewTicker(l.opt.interval)
		for more := true; more; {
			select {
			case <-l.stop:
				tick.Stop()
				return
			case <-tick.C:
			case <-l.full:
			}
			more = l.flush(false)
		}
		tick.Stop()
	}
}

// flush writes what waits, and with all also the refusals that are counted and not due. It returns false when nothing waits
// any more, and rouse has to be called again.
func (l *Log) flush(all bool) (more bool) {
	l.writing.Lock()
	defer l.writing.Unlock()
	l.mu.Lock()
	for key, e := range l.fetching {
		l.retrieved(key, e)
	}
	l.refused.take(l.opt.Now(), all, func(e *store.Event) { l.put(ofRefused, e) })
	lines := l.waiting
	l.waiting, l.spare = l.spare, [2][]byte{}
	more = len(l.refused.known) > 0
	idle := len(lines[ofMail])+len(lines[ofRefused]) == 0 && !more
	if idle && !all {
		l.awake = false
	}
	l.mu.Unlock()
	for which, b := range lines {
		if len(b) > 0 {
			l.write(which, b)
		}
		if cap(b) <= keptBuffer {
			l.spare[which] = b[:0]
		}
	}
	l.measure()
	return !idle
}

// write appends lines to the files of a series.
func (l *Log) write(which int, b []byte) {
	p := l.policy.Load()
	if p.For <= 0 {
		return
	}
	err := errTight
	if !l.opt.Tight() {
		if err = l.opt.FS.Mkdir(l.dir, 0o700); err == nil {
			err = l.series[which].write(day(l.opt.Now()), b, p.share(which))
		}
	}
	if err != nil {
		l.dropped.Add(uint64(bytes.Count(b, []byte("\n"))))
	}
	if err != nil && !l.failing {
		l.opt.Failed(err)
	}
	l.failing = err != nil
}

var errTight = errors.New("the disk is almost full")

// share is what a series has of the octets.
func (p *Policy) share(which int) int64 {
	if which == ofRefused {
		return p.Bytes / 4
	}
	return p.Bytes - p.Bytes/4
}

// measure takes the sum of the files' sizes. The files are locked, or nobody else is there yet.
func (l *Log) measure() { l.bytes.Store(l.series[ofMail].total + l.series[ofRefused].total) }

// Expire removes the files of days that lie wholly before the policy's time, counted from now, which the caller believes; with
// a policy of no history all of them. What a clock that ran ahead dated counts from now on.
func (l *Log) Expire(now time.Time) error {
	p := l.policy.Load()
	before := day(now.Add(-p.For))
	if p.For <= 0 {
		before = "~" // behind every day
	}
	l.writing.Lock()
	defer l.writing.Unlock()
	defer l.measure()
	return errors.Join(l.series[ofMail].expire(before, day(now)), l.series[ofRefused].expire(before, day(now)))
}

// Close writes what waits. Later notes are dropped.
func (l *Log) Close() {
	l.mu.Lock()
	closed := l.closed
	l.mu.Unlock()
	if closed {
		return
	}
	close(l.stop)
	<-l.done
	l.flush(true)
	l.mu.Lock()
	l.closed = true
	l.mu.Unlock()
	l.writing.Lock()
	defer l.writing.Unlock()
	for i := range l.series {
		l.series[i].close()
	}
}
