package bench

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"example.org/letterbox/cmd/letterbox/internal/probe"
)

// POP3 is what the loads of POP3 have in common. Each user's maildrop is opened by one session at a time.
type POP3 struct {
	Run
	Password string // of each user
}

// Drain retrieves all that waits in each user's maildrop once, and compares every message.
type Drain struct {
	POP3
	Window int  // commands under way at the same time; over 1 the server must offer PIPELINING
	Delete bool // what was retrieved
	Most   int  // messages of one maildrop; 0: all
}

// Do runs the load. It fails only where nothing could be measured.
func (d Drain) Do(ctx context.Context) (*Result, error) {
	r, err := d.maildrops(ctx, "drain", "messages", d.one)
	if err == nil {
		r.Check = &r.sum.check
	}
	return r, err
}

// List opens each user's maildrop once and asks STAT, UIDL and LIST, as a client does that looks for new mail.
type List struct{ POP3 }

// Do runs the load. It fails only where nothing could be measured.
func (l List) Do(ctx context.Context) (*Result, error) {
	return l.maildrops(ctx, "list", "maildrops", l.one)
}

// Login logs in, asks STAT and quits, again and again, each connection for users of its own.
type Login struct{ POP3 }

// Do runs the load. It fails only where nothing could be measured.
func (l Login) Do(ctx context.Context) (*Result, error) {
	l.Connections = min(l.Connections, l.Users.N)
	return l.run(ctx, "login", "logins", func(w *work, t *tally, user int) {
		for {
			if _, more := w.take(); !more {
				return
			}
			if err := l.one(w, t, user); err != nil {
				t.failed(err)
				w.pause()
			}
			if user += l.Connections; user >= l.Users.N {
				user %= l.Connections
			}
		}
	})
}

func (l Login) one(w *work, t *tally, user int) error {
	began := time.Now()
	c, err := l.open(w, t, user)
	if err != nil {
		return err
	}
	defer c.Close()
	if _, _, err := c.Stat(); err != nil {
		return err
	}
	if err := c.Quit(); err != nil {
		return err
	}
	t.took("session", began)
	t.finished(0)
	return nil
}

// run runs share in each connection, with its number.
func (p POP3) run(ctx context.Context, mode, unit string, share func(*work, *tally, int)) (*Result, error) {
	measured, err := watch(p.PIDs)
	if err != nil {
		return nil, err
	}
	w, end := p.start(ctx)
	defer end()
	numbers := make(chan int, p.Connections)
	for i := range p.Connections {
		numbers <- i
	}
	sum := w.each(func(t *tally) { share(w, t, <-numbers) })
	r := w.result("pop3", mode, unit, sum)
	return r, measured.into(r)
}

// maildrops runs one for each user once.
func (p POP3) maildrops(ctx context.Context, mode, unit string, one func(*work, *tally, *probe.POP3) error) (*Result, error) {
	if p.Count == 0 || p.Count > p.Users.N {
		p.Count = p.Users.N
	}
	p.Server.Buffer = 64 << 10
	return p.run(ctx, mode, unit, func(w *work, t *tally, _ int) {
		for {
			user, more := w.take()
			if !more {
				return
			}
			c, err := p.open(w, t, user)
			if err == nil {
				err = one(w, t, c)
				c.Close()
			}
			if err != nil {
				t.failed(fmt.Errorf("%s: %w", p.Users.Name(user), err))
			}
		}
	})
}

// open connects and logs in.
func (p POP3) open(w *work, t *tally, user int) (*probe.POP3, error) {
	began := time.Now()
	c, err := probe.DialPOP3(w.hard, w.Server)
	if err != nil {
		return nil, err
	}
	began = t.took("connect", began)
	if err := c.Login(p.Users.Name(user), p.Password); err != nil {
		c.Close()
		return nil, err
	}
	t.took("login", began)
	return c, nil
}

// one asks for all that a client looks at first, and holds the answers against each other.
func (l List) one(_ *work, t *tally, c *probe.POP3) error {
	began := time.Now()
	messages, octets, err := c.Stat()
	if err != nil {
		return err
	}
	began = t.took("stat", began)
	ids, err := c.UIDLs()
	if err != nil {
		return err
	}
	began = t.took("uidl", began)
	sizes, err := c.Sizes()
	if err != nil {
		return err
	}
	t.took("list", began)
	sum, seen := int64(0), make(map[string]bool, len(ids))
	for i, n := range sizes {
		sum += n
		if i < len(ids) {
			seen[ids[i]] = true
		}
	}
	if len(sizes) != messages || len(ids) != messages || len(seen) != messages || sum != octets {
		return fmt.Errorf("%w: STAT says %d messages of %d octets, LIST %d of %d, UIDL %d with %d different ids",
			probe.ErrProtocol, messages, octets, len(sizes), sum, len(ids), len(seen))
	}
	began = time.Now()
	if err := c.Quit(); err != nil {
		return err
	}
	t.took("quit", began)
	t.finished(0)
	return nil
}

// one drains one maildrop.
func (d Drain) one(w *work, t *tally, c *probe.POP3) error {
	if d.Window > 1 {
		offered, err := c.Capabilities()
		if _, ok := offered["PIPELINING"]; err != nil || !ok {
			return fmt.Errorf("%w: it does not offer PIPELINING", probe.ErrProtocol)
		}
	}
	sizes, err := c.Sizes()
	if err != nil {
		return err
	}
	if d.Most > 0 && len(sizes) > d.Most {
		sizes = sizes[:d.Most]
	}
	n, err := d.retrieve(w, t, c, sizes)
	if err != nil {
		return err
	}
	began := time.Now()
	if d.Delete {
		if err := d.window(c, "DELE", n, w.hard, func(int) error { return c.Answer() }); err != nil {
			return err
		}
		began = t.took("deletions", began)
	}
	if err := c.Quit(); err != nil {
		return err
	}
	t.took("quit", began)
	t.last = time.Since(w.began)
	return nil
}

// retrieve retrieves the messages whose sizes are given, and returns how many it got before the run was over.
func (d Drain) retrieve(w *work, t *tally, c *probe.POP3, sizes []int64) (int, error) {
	check, seen, began := newChecker(), make(map[string]bool, len(sizes)), time.Now()
	got := 0
	err := d.window(c, "RETR", len(sizes), w.soft, func(i int) error {
		check.reset()
		octets, err := c.Content(check)
		if err != nil {
			return err
		}
		if i == 0 {
			t.took("first message", began)
		}
		t.check.message(check, seen, octets == sizes[i])
		t.finished(octets)
		got++
		return nil
	})
	return got, err
}

// message counts what became of one message.
func (c *Check) message(m *checker, seen map[string]bool, octets bool) {
	if !octets {
		c.Octets++
	}
	switch {
	case !m.known():
		c.Unknown++
	case seen[m.id]:
		c.Twice++
	case m.intact():
		c.Intact++
	default:
		c.Altered++
	}
	seen[m.id] = true
}

// window sends verb for messages 1 to n with up to Window commands under way, in writes of half a window, and calls answer
// for each from 0 on. When ctx ends it sends no more, and waits for what is under way.
func (d Drain) window(c *probe.POP3, verb string, n int, ctx context.Context, answer func(int) error) error {
	var commands []string
	for sent, answered := 0, 0; answered < n; answered++ {
		if under := sent - answered; under <= d.Window/2 && ctx.Err() == nil {
			commands = commands[:0]
			for ; sent < n && sent-answered < d.Window; sent++ {
				commands = append(commands, verb+" "+strconv.Itoa(sent+1))
			}
			if err := c.Queue(commands...); err != nil {
				return err
			}
		}
		if sent == answered {
			return nil
		}
		if err := answer(answered); err != nil {
			return err
		}
	}
	return nil
}
