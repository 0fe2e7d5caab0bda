package boltstore

import (
	"context"
	"fmt"
	"time"
)

const (
	// defaultKeepInterval is how often old mail is looked for, and what an import keeps in memory.
	defaultKeepInterval = 10 * time.Minute
	// auditDelay is how long after opening the counters are held against what is there.
	defaultAuditDelay = 10 * time.Second
)

// keeper does what time asks for, in the background: mail expires, bins are emptied, and once after opening the counters are
// held against what is there.
type keeper struct {
	s     *Store
	clock *clockWatch
	ctx   context.Context
	end   context.CancelFunc
	done  chan struct{}
}

func newKeeper(s *Store, note clockNote) *keeper {
	k := &keeper{s: s, done: make(chan struct{})}
	k.clock = newClockWatch(s.opt.Now, s.opt.elapsed, s.opt.Built, note)
	k.ctx, k.end = context.WithCancel(context.Background())
	return k
}

func (k *keeper) stop() {
	k.end()
	<-k.done
}

func (k *keeper) run() {
	defer close(k.done)
	if k.s.opt.Brief {
		<-k.ctx.Done()
		return
	}
	audit := time.NewTimer(k.s.opt.auditDelay)
	defer audit.Stop()
	tick := time.NewTicker(k.s.opt.keepInterval)
	defer tick.Stop()
	for {
		select {
		case <-k.ctx.Done():
			return
		case <-audit.C:
			k.audit()
		case <-tick.C:
			k.keep()
		}
	}
}

// keep lets expire what the policy says, if the clock may be believed. A disk that is full empties the bins.
func (k *keeper) keep() {
	p := k.s.keep.Load()
	k.s.imports.forget(k.s.opt.Now())
	if k.s.space.tight(0) {
		k.do("the disk is almost full: deleted mail that could still be undone is gone for good", k.s.purge, time.Unix(1<<40, 0))
	}
	now, trusted := k.s.lookAtClock()
	if trusted || p.HistoryFor <= 0 { // what nobody wants goes by any clock
		k.forgetHistory(now)
	}
	if !trusted {
		return
	}
	if p.ExpireAfter > 0 {
		k.do("mail expired", k.s.expire, now.Add(-p.ExpireAfter))
	}
	k.do("deleted mail is gone for good", k.s.purge, now.Add(-p.UndeleteFor))
}

// do takes one step, for what is older than a moment, and logs what came of it; nothing where there was nothing to do.
func (k *keeper) do(text string, step func(context.Context, time.Time) (int, error), before time.Time) {
	n, err := step(k.ctx, before)
	if n > 0 {
		k.s.opt.Log.Info().Int("messages", n).Msg(text)
	}
	if err != nil && k.ctx.Err() == nil {
		k.s.opt.Log.Warn().AnErr("reason", err).Msg("old mail could not be deleted: trying again later")
	}
}

// audit holds the counters against the maildrops' own: delivered + imported + restored = present + deleted + expired +
// removed + lost.
func (k *keeper) audit() {
	off, err := k.s.Mismatch()
	if err != nil {
		k.s.opt.Log.Warn().AnErr("reason", err).Msg("the counters could not be checked")
		return
	}
	k.s.mismatch.Store(off)
	if off != 0 {
		k.s.opt.Log.Error().Int64("messages", off).Msg("the counters and the mail that is there do not agree: run letterbox verify")
	}
}

// Mismatch returns how many entries more are in the maildrops than the counters say: 0 in a store in order.
func (s *Store) Mismatch() (int64, error) {
	if err := s.indexer.settle(0); err != nil {
		return 0, err
	}
	here, want, err := s.balance()
	if err != nil {
		return 0, fmt.Errorf("index: %w", err)
	}
	return here.messages - want.messages, nil
}
