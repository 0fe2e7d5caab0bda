package pop3d

import "example.org/letterbox/store"

// lendFrom is how many octets a message has from which on it is written from where the store has it, unless more commands are at
// hand: a write of its own costs less than to copy it to where the answers wait that go out with it.
const lendFrom = 32 << 10

// lend writes a message without copying it. It does nothing where that can't be: then nothing was read of it.
func (s *session) lend(r *exactReader) (done bool, err error) {
	lender, ok := r.src.(store.Lender)
	if !ok || r.left < lendFrom || s.policy.NoNULs || s.in.pending() || !s.out.mayLend() {
		return false, nil
	}
	defer s.out.lent()
	head, body, ok := lender.Lend()
	if !ok {
		return false, nil
	}
	if r.left -= int64(len(head) + len(body)); r.left != 0 {
		return true, errWrongLength
	}
	s.out.beginMessage(int64(len(head) + len(body)))
	s.out.add(head)
	s.out.direct(body)
	return true, s.out.err
}

// mayLend tells whether direct may be called, and if so keeps the right to it until lent: what is lent is memory of the store's, as
// much as a wide buffer and no less scarce.
func (w *writer) mayLend() bool {
	if g, ok := w.dst.(*guard); !ok || !g.writesVectors() || w.err != nil {
		return false // TLS copies what it encrypts
	}
	select {
	case w.pool.taken <- struct{}{}:
		return true
	default:
		return false
	}
}

func (w *writer) lent() { <-w.pool.taken }

// add takes p into the reply, as stuff does.
func (w *writer) add(p []byte) {
	for len(p) > 0 && w.err == nil {
		n := copy(w.space(len(p)), p)
		w.stuff(n)
		p = p[n:]
	}
}

// direct ends a message with p, which it writes from where it lies, behind what waits. Where there are dots to double it copies.
func (w *writer) direct(p []byte) {
	if len(p) == 0 || w.lineStart && p[0] == '.' || countDots(p, new(firstDots)) > 0 {
		w.add(p)
		w.endMessage()
		return
	}
	end := ".\r\n"
	if p[len(p)-1] != '\n' {
		end = "\r\n.\r\n"
	}
	w.ensure(len(end))
	if w.err != nil {
		return
	}
	at := len(w.buf)
	tail := append(w.buf[at:], end...)
	w.vector = [3][]byte{w.buf, p, tail}
	w.buf, w.huge = w.buf[:at], false
	n, err := w.dst.(*guard).writeVector(w.vector[:])
	w.flushed(n, err)
	w.vector = [3][]byte{}
}
