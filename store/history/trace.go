package history

import (
	"bytes"
	"context"
	"slices"
	"strings"
	"time"

	"example.org/letterbox/store"
)

// clockSlack is how far the clock may be set back while a message waits, so that its way is found to the end.
const clockSlack = 48 * time.Hour

// Trace answers a query from the files and from what waits to be written. It reads at most one file at a time, and decodes
// only lines that hold what is looked for.
func (l *Log) Trace(ctx context.Context, q store.Query) (store.Traced, error) {
	if !l.On() {
		return store.Traced{}, store.ErrNoHistory
	}
	l.flush(true)
	s := search{ctx: ctx, log: l, since: q.Since, limit: q.Limit}
	if s.limit <= 0 || s.limit > store.MaxEvents {
		s.limit = store.MaxEvents
	}
	sought := newSought(q.Text)
	direct, more, err := s.find(sought.in, sought.fits)
	if err != nil {
		return store.Traced{}, err
	}
	traced := store.Traced{Events: direct, More: more}
	if ids := sought.related(direct); len(ids) > 0 && len(direct) > 0 {
		if came := direct[0].Time; !came.After(l.opt.Now()) { // else the clock was ahead
			s.since = laterOf(s.since, came.Add(-clockSlack))
		}
		rest, cutOff, err := s.find(func(line []byte) bool { return !sought.in(line) && names(line, ids) }, func(e *store.Event) bool {
			e.Messages = slices.DeleteFunc(e.Messages, func(id store.ID) bool { return !ids[id.String()] })
			return true
		})
		if err != nil {
			return store.Traced{}, err
		}
		traced.More = traced.More || cutOff
		traced.Events = append(traced.Events, rest...)
	}
	slices.SortStableFunc(traced.Events, func(a, b store.Event) int { return a.Time.Compare(b.Time) })
	if over := len(traced.Events) - s.limit; over > 0 {
		traced.Events, traced.More = traced.Events[over:], true
	}
	return traced, nil
}

func laterOf(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// sought is what a query asks for.
type sought struct {
	id      store.ID // zero where it is none
	texts   []string // as they stand in a line, without quotes and escapes
	needles [][]byte // one of them is in every line that fits
}

func newSought(text string) *sought {
	text = strings.TrimSpace(text)
	if len(text) > 2 && text[0] == '<' && text[len(text)-1] == '>' {
		text = text[1 : len(text)-1]
	}
	s := &sought{texts: []string{text}}
	if id, err := store.ParseID(text); err == nil {
		s.id, s.texts[0] = id, id.String()
	} else {
		s.texts = append(s.texts, canonical(text), cut(text, store.MaxMessageID))
		s.texts = slices.Compact(s.texts)
	}
	for i, t := range s.texts {
		needle := appendQuoted(nil, t, store.MaxPath)
		s.needles = append(s.needles, needle)
		s.texts[i] = unquote(needle)
	}
	return s
}

// unquote undoes appendQuoted, but for what it cut or changed.
func unquote(quoted []byte) string {
	return strings.NewReplacer(`\\`, `\`, `\"`, `"`).Replace(string(quoted[1 : len(quoted)-1]))
}

// in tells whether a line may be one.
func (s *sought) in(line []byte) bool {
	for _, needle := range s.needles {
		if bytes.Contains(line, needle) {
			return true
		}
	}
	return false
}

// fits tells whether an event is one. Of those that name many messages only the one that is sought is left.
func (s *sought) fits(e *store.Event) bool {
	if !s.id.IsZero() {
		if slices.Contains(e.Messages, s.id) {
			e.Messages = []store.ID{s.id}
			return true
		}
		return e.Was == s.id
	}
	is := func(text string) bool { return slices.Contains(s.texts, text) }
	return is(e.MessageID) || is(e.From) || is(e.Session) || slices.ContainsFunc(e.To, is) || slices.ContainsFunc(e.Accounts, is)
}

// related returns the messages whose fate belongs to the answer: those that came with one event each, and what an undelete
// made of them. It is bounded by the events.
func (s *sought) related(events []store.Event) map[string]bool {
	ids := map[string]bool{}
	for _, e := range events {
		switch e.Kind {
		case store.EventAccepted, store.EventImported, store.EventUndeleted:
		default:
			continue
		}
		for _, id := range append(e.Messages, e.Was) {
			if id != s.id && !id.IsZero() {
				ids[id.String()] = true
			}
		}
	}
	return ids
}

// names tells whether a line's messages hold one of these ids. They stand at equal distances.
func names(line []byte, ids map[string]bool) bool {
	const begin, step = `"msgs":["`, len(`01ARZ3NDEKTSV4RRFFQ69G5FAV`)
	at := bytes.Index(line, []byte(begin))
	if at < 0 {
		return false
	}
	for rest := line[at+len(begin):]; len(rest) > step; rest = rest[step+3:] {
		if ids[string(rest[:step])] {
			return true
		}
		if len(rest) < step+3 || rest[step+1] != ',' {
			break
		}
	}
	return false
}

// search goes over the files from the newest to the oldest.
type search struct {
	ctx   context.Context
	log   *Log
	since time.Time
	limit int
	buf   []byte
}

// find returns the newest events whose lines may be meant and are, the oldest first, and whether there are more.
func (s *search) find(may func(line []byte) bool, fits func(*store.Event) bool) (found []store.Event, more bool, err error) {
	for which := range s.log.series {
		of, cutOff, err := s.findIn(&s.log.series[which], may, fits)
		if err != nil {
			return nil, false, err
		}
		found, more = append(found, of...), more || cutOff
	}
	slices.SortStableFunc(found, func(a, b store.Event) int { return a.Time.Compare(b.Time) })
	if over := len(found) - s.limit; over > 0 {
		found, more = found[over:], true
	}
	return found, more, nil
}

// findIn is find in one series. It reads the newest first, but what it returns is in the order of the lines.
func (s *search) findIn(of *series, may func([]byte) bool, fits func(*store.Event) bool) (found []store.Event, more bool, err error) {
	s.log.writing.Lock()
	parts := slices.Clone(of.parts)
	s.log.writing.Unlock()
	defer func() { slices.Reverse(found) }()
	oldest := ""
	if !s.since.IsZero() {
		oldest = day(s.since)
	}
	for _, p := range slices.Backward(parts) {
		if p.day < oldest {
			break
		}
		if err := s.ctx.Err(); err != nil {
			return nil, false, err
		}
		if s.buf, err = of.read(p, s.buf); err != nil {
			return nil, false, err
		}
		for _, line := range slices.Backward(linesOf(s.buf, may)) {
			e, ok := decodeLine(line)
			if !ok || e.Time.Before(s.since) || !fits(&e) {
				continue
			}
			if len(found) == s.limit {
				return found, true, nil
			}
			found = append(found, e)
		}
	}
	return found, false, nil
}

// linesOf returns the whole lines of b that may be meant.
func linesOf(b []byte, may func([]byte) bool) (lines [][]byte) {
	for {
		end := bytes.IndexByte(b, '\n')
		if end < 0 {
			return lines
		}
		if line := b[:end]; may(line) {
			lines = append(lines, line)
		}
		b = b[end+1:]
	}
}
