package smtpd

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// load is what a process of its own does to a server, so that the server's process can be measured alone.
type load struct {
	Addr        string
	Connections int
	Size        int           // of a message
	For         time.Duration // deliver as much as there is time for; 0: hold the connections until standard input ends
	Trickle     bool          // hold them inside a message, and send an octet each second
}

const loadVariable = "LETTERBOX_TEST_LOAD"

// delivery is what a load did.
type delivery struct {
	Messages int64
	Seconds  float64
}

func (d delivery) rate() float64 { return float64(d.Messages) / d.Seconds }

// start runs a load in a child. Its end is waited for by the returned function, which also lets go of held connections.
func (l load) start(tb testing.TB) func() delivery {
	tb.Helper()
	what, err := json.Marshal(l)
	if err != nil {
		tb.Fatal(err)
	}
	c := exec.Command(os.Args[0], "-test.run=^TestLoad$", "-test.v")
	c.Env = append(os.Environ(), loadVariable+"="+string(what))
	c.Stderr = os.Stderr
	in, _ := c.StdinPipe()
	out, err := c.StdoutPipe()
	if err != nil {
		tb.Fatal(err)
	}
	if err := c.Start(); err != nil {
		tb.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	next := func() string {
		for lines.Scan() {
			if s, ok := strings.CutPrefix(lines.Text(), "LOAD "); ok {
				return s
			}
		}
		tb.Fatal("the load has failed")
		return ""
	}
	next() // it is connected
	return func() delivery {
		in.Close()
		var d delivery
		if err := json.Unmarshal([]byte(next()), &d); err != nil {
			tb.Fatal(err)
		}
		io.Copy(io.Discard, out)
		c.Wait()
		return d
	}
}

// TestLoad is the child.
func TestLoad(t *testing.T) {
	what := os.Getenv(loadVariable)
	if what == "" {
		t.Skip("a part of the benchmarks")
	}
	var l load
	if err := json.Unmarshal([]byte(what), &l); err != nil {
		t.Fatal(err)
	}
	conns := make([]*client, l.Connections)
	for i := range conns {
		conn, err := net.Dial("tcp", l.Addr)
		if err != nil {
			t.Fatal(err)
		}
		conns[i] = &client{t: t, conn: conn, r: bufio.NewReaderSize(conn, 512)}
	}
	for _, c := range conns {
		c.want("220 ")
		c.do("EHLO load.test", "250 ")
	}
	fmt.Println("LOAD connected")
	var d delivery
	switch {
	case l.For > 0:
		d = deliver(conns, l)
	case l.Trickle:
		trickle(conns)
	default:
		io.Copy(io.Discard, os.Stdin)
	}
	done, _ := json.Marshal(d)
	fmt.Println("LOAD " + string(done))
}

func deliver(conns []*client, l load) delivery {
	body := strings.Repeat("0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcd\r\n", 1+l.Size/64)
	body = ("From: eve@b.test\r\nTo: ann@a.test\r\nSubject: load\r\n\r\n" + body)[:l.Size-2] + "\r\n.\r\n"
	var taken atomic.Int64
	var all sync.WaitGroup
	before := time.Now()
	for _, c := range conns {
		all.Go(func() {
			for time.Since(before) < l.For {
				c.send("MAIL FROM:<eve@b.test>\r\nRCPT TO:<ann@a.test>\r\nDATA\r\n")
				c.want("250 ")
				c.want("250 ")
				c.want("354 ")
				c.send(body)
				c.want("250 ")
				taken.Add(1)
			}
		})
	}
	all.Wait()
	return delivery{Messages: taken.Load(), Seconds: time.Since(before).Seconds()}
}

// trickle sends an octet a second on each connection until standard input ends.
func trickle(conns []*client) {
	for _, c := range conns {
		c.envelope()
		c.do("DATA", "354 ")
	}
	over := make(chan struct{})
	go func() {
		io.Copy(io.Discard, os.Stdin)
		close(over)
	}()
	for {
		for _, c := range conns {
			io.WriteString(c.conn, "x")
		}
		select {
		case <-over:
			return
		case <-time.After(time.Second):
		}
	}
}
