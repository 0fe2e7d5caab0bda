package pop3d

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"runtime"
	"strings"
	"testing"
)

// bodyOf returns a message of about so many octets, in lines as an attachment has them.
func bodyOf(octets int) string {
	head, line := "Subject: x\r\n\r\n", strings.Repeat("QUJD", 19)+"\r\n"
	return head + strings.Repeat(line, (octets-len(head))/len(line))
}

func unobserved(c *Config, _ *Policy, _ *Listener) { c.Observer = nil }

// BenchmarkRetr retrieves one message again and again; "copy" is the same octets over a bare loopback connection.
func BenchmarkRetr(b *testing.B) {
	for _, c := range []struct {
		name      string
		octets    int
		pipelined int
	}{{"75KiB", 75 << 10, 1}, {"4KiB-pipelined", 4 << 10, 50}} {
		body := bodyOf(c.octets)
		reply := fmt.Sprintf("+OK %d octets\r\n%s.\r\n", len(body), body)
		b.Run(c.name+"/letterbox", func(b *testing.B) {
			client := serve(b, newFake(body), unobserved).login()
			roundTrips(b, client.r, client.conn, "RETR 1\r\n", len(reply), c.pipelined)
		})
		b.Run(c.name+"/copy", func(b *testing.B) {
			ours, theirs := loopback(b)
			go func() {
				request := make([]byte, len("RETR 1\r\n")*c.pipelined)
				answer := bytes.Repeat([]byte(reply), c.pipelined)
				for {
					if _, err := io.ReadFull(theirs, request); err != nil {
						return
					}
					theirs.Write(answer)
				}
			}()
			roundTrips(b, ours, ours, "RETR 1\r\n", len(reply), c.pipelined)
		})
	}
}

// roundTrips sends n commands at a time and reads their replies, each of so many octets.
func roundTrips(b *testing.B, r io.Reader, w io.Writer, command string, reply, n int) {
	b.SetBytes(int64(reply))
	b.ReportAllocs()
	commands := []byte(strings.Repeat(command, n))
	replies := make([]byte, reply*n)
	for i := 0; i < b.N; i += n {
		if _, err := w.Write(commands); err != nil {
			b.Fatal(err)
		}
		if _, err := io.ReadFull(r, replies); err != nil {
			b.Fatal(err)
		}
	}
}

func loopback(t testing.TB) (ours, theirs net.Conn) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	ours, err = net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	theirs, err = ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ours.Close(); theirs.Close() })
	return ours, theirs
}

// BenchmarkList lists 100,000 messages.
func BenchmarkList(b *testing.B) {
	f := newFake()
	for i := range 100_000 {
		f.mail = append(f.mail, fakeMessage{fmt.Sprintf("01ARZ3NDEKTSV4RRFFQ6%06d", i), nil})
	}
	client := serve(b, f, unobserved).login()
	for _, command := range []string{"LIST", "UIDL"} {
		b.Run(command, func(b *testing.B) {
			for range b.N {
				client.ask(command, "+OK*")
				for {
					line, err := client.r.ReadSlice('\n')
					if err != nil {
						b.Fatal(err)
					}
					if string(line) == ".\r\n" {
						break
					}
				}
			}
		})
	}
}

// A client that does not read, in the middle of a large message, costs no more than 64 KiB of heap, and one that waits
// before login far less.
func TestMemoryOfSessions(t *testing.T) {
	const sessions = 50
	f := &sharedPickup{body: bodyOf(50 << 20)}
	b := serve(t, f)
	measure := func() int64 {
		runtime.GC()
		runtime.GC() // once more: pools keep what they hold for one
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	before := measure()
	var clients []*client
	for range sessions {
		c := b.dial()
		if got, err := c.conn.Read(make([]byte, 100)); err != nil || got == 0 {
			t.Fatal(err)
		}
		clients = append(clients, c)
	}
	idle := (measure() - before) / sessions
	for _, c := range clients {
		c.send("USER x\r\nPASS y\r\nRETR 1\r\n")
		for range 3 {
			c.want("+OK*")
		}
	}
	slow := (measure() - before) / sessions
	t.Logf("idle %d octets, slow %d octets, client's side included", idle, slow)
	if idle > 16<<10 || slow > 64<<10+8<<10 { // the client's buffers and what the test keeps: 8 KiB
		t.Errorf("a session costs %d octets while it waits, %d while it sends", idle, slow)
	}
}
