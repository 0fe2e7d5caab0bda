package boltstore

import (
	"context"
	"runtime"
	"time"
)

const (
	// workFor is how long work in the background goes on before it looks whether mail comes in.
	workFor = 2 * time.Millisecond
	// restTenths is the rest that follows, in tenths of the work.
	restTenths = 12
)

// gentle is work that reads much of the store and for which nobody waits: while records are appended it rests longer than it
// works, so that deliveries keep most of their rate, of the processors and of the disk. In a quiet store it never rests.
type gentle struct {
	s       *Store
	began   time.Time // to work
	records uint64    // of the log, then
	others  int       // that do the same work at the same time, in as many goroutines: each rests so much longer
	busy    bool      // records were appended when it last looked
}

// rest is called between two steps of the work, which are short. Beside mail it lets others go first each time: a group commit
// is a chain of goroutines that wake each other, and would wait for the end of the work at every link.
func (g *gentle) rest(ctx context.Context) error {
	if g.busy {
		runtime.Gosched()
	}
	now := time.Now()
	worked := now.Sub(g.began)
	if worked < workFor {
		return nil
	}
	records := g.s.log.Counts().Records
	var err error
	g.busy = records != g.records && !g.began.IsZero()
	if g.busy {
		err = sleep(ctx, time.Duration(1+g.others)*restTenths*min(worked, 10*workFor)/10)
		now = time.Now()
	}
	g.began, g.records = now, records
	return err
}
