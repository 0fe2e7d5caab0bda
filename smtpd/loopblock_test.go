package smtpd

import (
	"net"
	"testing"

	"example.org/letterbox/store"
	"github.com/rs/zerolog"
)

// TestLoopByABlockedName: a message that comes back goes in circles, though a block is for the name by which it was
// delivered; and the block, which refused nobody, counts nothing.
func TestLoopByABlockedName(t *testing.T) {
	st := realStore(t)
	_, err := st.Apply(t.Context(), 0, []store.Edit{{Op: store.AddBlock, Targets: []string{"both@a.test"}}})
	if err != nil {
		t.Fatal(err)
	}
	s := New(Config{Hostname: "mx.a.test", Store: st, Log: zerolog.Nop()}, Policy{})
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	go func() {
		if c, err := ln.Accept(); err == nil {
			s.Handle(c, Listener{Name: "test"})
		}
	}()
	c := (&bench{t: t, addr: ln.Addr().String()}).hello()
	c.do("MAIL FROM:<eve@b.test>", "250 ")
	c.do("RCPT TO:<ann@a.test>", "250 ")
	c.do("DATA", "354 ")
	c.send("Delivered-To: both@a.test\r\n\r\nx\r\n.\r\n")
	c.want("554 5.4.6 ")
	c.do("QUIT", "221 ")
	if err := s.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	d, err := st.Directory(t.Context())
	if err != nil || len(d.Blocks) != 1 || d.Blocks[0].Refused != 0 {
		t.Errorf("%+v, %v", d.Blocks, err)
	}
}
