package migrate

import (
	"context"
	"crypto/sha256"
	"encoding/base32"
	"errors"
	"fmt"
	"strings"

	"example.org/letterbox/store"
)

// Import moves all messages of a source into an account, under the UIDLs that they have there. Which UIDL a message gets
// depends on the source alone, so that a second run finds what the first one moved.
//
// It fails when it can't go on; what was moved until then stays. A message that can't be read is noted and counted.
func Import(ctx context.Context, to string, st Store, from Source, watch Watch) (Result, error) {
	there, err := st.Mail(ctx, to)
	if err != nil {
		return Result{}, err
	}
	im := &importer{to: to, st: st, watch: watch, there: make(map[string]store.Message, len(there)), seen: map[string]bool{}, spool: newSpool()}
	defer im.spool.close()
	for _, m := range there {
		im.there[m.UIDL()] = m
	}
	for i := range from.Len() {
		if err := ctx.Err(); err != nil {
			return im.result, err
		}
		m := from.Message(i)
		if err := im.move(ctx, m); err != nil {
			if ctx.Err() != nil {
				return im.result, ctx.Err()
			}
			return im.result, fmt.Errorf("%s: %w", m.Name, err)
		}
		watch.progress(i+1, from.Len())
	}
	return im.result, nil
}

// importer is one run. It remembers some 200 octets for each message of the account and of the source.
type importer struct {
	to     string
	st     Store
	watch  Watch
	there  map[string]store.Message // by UIDL, as it was at the start
	seen   map[string]bool          // UIDLs of the messages moved, or found, in this run
	spool  *spool
	result Result
}

// outcome is what became of one message under one UIDL.
type outcome int

const (
	moved outcome = iota
	found         // it is there, or was
	taken         // another message has the UIDL, or had it
)

// tellingUIDL is how long a UIDL is, in octets, that with a size stands for one message, so that this need not be fetched to be
// compared. Shorter ones are numbers, which many servers give.
const tellingUIDL = 8

// move moves one message. An error ends the run.
func (im *importer) move(ctx context.Context, m Message) error {
	if !store.IsUIDL(m.UIDL) {
		m.UIDL = "" // a server may say anything
	}
	if have, ok := im.there[m.UIDL]; ok && len(m.UIDL) >= tellingUIDL && m.Octets > 0 && have.Octets == m.Octets && !im.seen[m.UIDL] {
		im.seen[m.UIDL] = true
		im.result.There++
		return nil
	}
	im.spool.reset()
	err := m.Read(im.spool)
	if err == nil {
		err = im.spool.end()
	}
	if fatal := (*fatalError)(nil); errors.As(err, &fatal) || ctx.Err() != nil {
		return err
	}
	if err != nil {
		im.result.Failed++
		im.watch.note("%s: not moved: %s", m.Name, err)
		return nil
	}
	uidl, out, err := im.file(ctx, m)
	switch {
	case err != nil:
		return err
	case out == found:
		im.result.There++
	default:
		im.result.Moved++
		if m.UIDL != "" && uidl != m.UIDL {
			im.result.Clashes++
			im.watch.note("%s: another message has the UIDL %s, so this one got %s: clients will fetch it once more", m.Name, m.UIDL, uidl)
		}
	}
	return nil
}

// file files the spooled message under the first UIDL that no other message has: the source's, else one of the digest of its
// content, which is counted where messages are alike.
func (im *importer) file(ctx context.Context, m Message) (uidl string, out outcome, err error) {
	candidate := m.UIDL
	if candidate == "" {
		candidate = m.Own
	}
	derived := digestUIDL(im.spool.digest())
	for n := 0; ; n++ {
		switch {
		case n == 1 || candidate == "":
			candidate = derived
		case n > 1:
			candidate = fmt.Sprintf("%s-%d", derived, n)
		}
		if out, err = im.put(ctx, candidate); err != nil || out != taken {
			return candidate, out, err
		}
	}
}

// digestUIDL is a UIDL of ours for a message that came without one.
func digestUIDL(sum [sha256.Size]byte) string {
	return "lb-" + strings.ToLower(base32.StdEncoding.EncodeToString(sum[:20]))
}

// put files the spooled message under uidl, if nobody has or had that. The message is found also where it was deleted here: else
// each run would bring back what a client has fetched and deleted.
func (im *importer) put(ctx context.Context, uidl string) (outcome, error) {
	if im.seen[uidl] {
		return taken, nil
	}
	out := moved
	_, err := im.st.Import(ctx, im.to, uidl, im.spool.reader())
	if refused := (*store.EditError)(nil); errors.As(err, &refused) {
		switch refused.Code {
		case store.CodeExists:
			out, err = found, nil
		case store.CodeTaken:
			return taken, nil
		}
	}
	if err != nil {
		return taken, err
	}
	im.seen[uidl] = true
	return out, nil
}
