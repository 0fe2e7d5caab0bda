package pop3d

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"

	"example.org/letterbox/store"
)

// BenchmarkRealRetr retrieves messages from the store on disk over loopback, each of them in turn; "copy" is the same octets
// over a bare connection, those of all the messages in turn as they lie in memory, and in the same packets: as many octets in each
// write as a session writes, which is looked up first.
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
			packets := packetsOf(b, s, ask, len(reply)*c.pipelined)
			ours, theirs := loopback(b)
			go echo(theirs, bytes.Repeat(reply, c.messages), packets, c.pipelined)
			rounds(b, ours, ours, ask, reply, c.pipelined)
		})
	}
}

// packetLog notes how many octets each write has.
type packetLog struct {
	net.Conn
	mu    sync.Mutex
	sizes []int
}

// NetConn lets a session end its direction of the connection.
func (p *packetLog) NetConn() net.Conn { return p.Conn }

func (p *packetLog) Write(b []byte) (int, error) {
	p.mu.Lock()
	p.sizes = append(p.sizes, len(b)) // before a client can have it
	p.mu.Unlock()
	return p.Conn.Write(b)
}

// take returns what was noted and forgets it.
func (p *packetLog) take() []int {
	p.mu.Lock()
	defer p.mu.Unlock()
	sizes := p.sizes
	p.sizes = nil
	return sizes
}

// packetsOf returns in which pieces a session writes so many octets of answer to what ask sends, once its buffers have grown.
func packetsOf(b *testing.B, s store.Pickup, ask func(first int) []byte, octets int) []int {
	b.Helper()
	seen := make(chan *packetLog, 1)
	server := serveWrapped(b, func(c net.Conn) net.Conn {
		p := &packetLog{Conn: c}
		seen <- p
		return p
	}, s, unobserved)
	client := server.login()
	log := <-seen
	var packets []int
	for range 3 {
		log.take()
		client.send(string(ask(0)))
		if _, err := io.CopyN(io.Discard, client.r, int64(octets)); err != nil {
			b.Fatal(err)
		}
		packets = log.take()
	}
	client.ask("QUIT", "+OK*")
	return packets
}

// echo answers so many lines with what comes next of answers, in these packets.
func echo(conn io.ReadWriter, answers []byte, packets []int, lines int) {
	request, rest := make([]byte, 8<<10), answers
	for left := lines; ; {
		n, err := conn.Read(request)
		if err != nil {
			return
		}
		if left -= bytes.Count(request[:n], []byte("\n")); left > 0 {
			continue
		}
		left = lines
		if len(rest) == 0 {
			rest = answers
		}
		for _, size := range packets {
			if _, err := conn.Write(rest[:size]); err != nil {
				return
			}
			rest = rest[size:]
		}
	}
}

// rounds sends n commands at a time and reads their replies.
func rounds(b *testing.B, r io.Reader, w io.Writer, ask func(first int) []byte, reply []byte, n int) {
	b.SetBytes(int64(len(reply)))
	b.ReportAllocs()
	replies := make([]byte, len(reply)*n)
	b.ResetTimer() // a login costs as much as thousands of messages
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

// BenchmarkRealQuit deletes 10,000 messages of the store on disk in one QUIT.
func BenchmarkRealQuit(b *testing.B) {
	const messages = 10_000
	s := newReal(b)
	everyone := make([]store.Recipient, b.N)
	for i := range everyone {
		everyone[i] = s.account(fmt.Sprintf("user%d@example.org", i))
	}
	for range messages {
		s.deliverTo("A: b\r\n\r\n", everyone)
	}
	var deletions strings.Builder
	for i := range messages {
		fmt.Fprintf(&deletions, "DELE %d\r\n", i+1)
	}
	server := serve(b, s, unobserved)
	b.ResetTimer()
	for i := range everyone {
		b.StopTimer()
		c := server.dial()
		c.want("+OK*")
		c.ask(fmt.Sprintf("USER user%d@example.org", i), "+OK*")
		c.ask("PASS "+testSecret, "+OK maildrop has 10000 messages*")
		go io.WriteString(c.conn, deletions.String())
		for range messages {
			c.want("+OK*")
		}
		b.StartTimer()
		c.ask("QUIT", "+OK mail.example.org POP3 server signing off (0 messages left)")
	}
}

// BenchmarkRealLogin logs in to an empty maildrop: what it takes is what the hash of the password takes.
func BenchmarkRealLogin(b *testing.B) {
	server := serve(b, newReal(b), unobserved)
	for range b.N {
		c := server.dial()
		c.want("+OK*")
		c.send("USER " + testName + "\r\nPASS " + testSecret + "\r\nQUIT\r\n")
		for range 3 {
			c.want("+OK*")
		}
		c.conn.Close()
	}
}
