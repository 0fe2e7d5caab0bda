package pop3d

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"testing"
	"time"

	"example.org/letterbox/store"
	"example.org/letterbox/store/seglog"
)

var _ = seglog.Pos{}
var _ = context.Background
var _ = store.Login{}
var _ = time.Now

// BenchmarkRealRetr retrieves messages from the store on disk over loopback, each of them in turn; "copy" is the same octets
// over a bare connection, in as many writes as there are replies.
func BenchmarkRealRetr(b *testing.B) {
	for _, c := range []struct {
		name      string
		octets    int
		messages  int
		pipelined int
	}{{"75KiB", 75 << 10, 200, 1}, {"75KiB-pipelined", 75 << 10, 200, 20}, {"4KiB", 4 << 10, 2000, 1}, {"4KiB-pipelined", 4 << 10, 2000, 50}} {
		s := newReal(b)
		body := bodyOf(c.octets)
		for range c.messages {
			s.deliver(body)
		}
		whole := len(realHead) + len(body)
		reply := []byte(fmt.Sprintf("+OK %d octets\r\n%s%s.\r\n", whole, realHead, body))
		ask := func(first int) (commands []byte) {
			for i := range c.pipelined {
				commands = fmt.Appendf(commands, "RETR %d\r\n", (first+i)%c.messages+1)
			}
			return commands
		}
		b.Run(c.name+"/letterbox", func(b *testing.B) {
			client := serve(b, s, unobserved).login()
			rounds(b, client.r, client.conn, ask, reply, c.pipelined)
		})
		b.Run(c.name+"/copy", func(b *testing.B) {
			ours, theirs := loopback(b)
			go echo(theirs, reply)
			rounds(b, ours, ours, ask, reply, c.pipelined)
		})
	}
}

// echo answers each line with reply, in packets of the size in which a session writes.
func echo(conn io.ReadWriter, reply []byte) {
	request := make([]byte, 64<<10)
	answers := bytes.Repeat(reply, 100)
	for {
		n, err := conn.Read(request)
		if err != nil {
			return
		}
		rest := answers[:bytes.Count(request[:n], []byte("\n"))*len(reply)]
		for len(rest) > 0 {
			n, err := conn.Write(rest[:min(len(rest), outBuffer)])
			if err != nil {
				return
			}
			rest = rest[n:]
		}
	}
}

// rounds sends n commands at a time and reads their replies.
func rounds(b *testing.B, r io.Reader, w io.Writer, ask func(first int) []byte, reply []byte, n int) {
	b.SetBytes(int64(len(reply)))
	b.ReportAllocs()
	replies := make([]byte, len(reply)*n)
	for i := 0; i < b.N; i += n {
		if _, err := w.Write(ask(i)); err != nil {
			b.Fatal(err)
		}
		if _, err := io.ReadFull(r, replies); err != nil {
			b.Fatal(err)
		}
	}
	if !bytes.HasSuffix(replies, reply) {
		b.Fatalf("another reply: %.200q", replies)
	}
}
