package pop3d

import (
	"net"
	"strings"
	"sync/atomic"
	"testing"
)

// Each command in the state where it does not belong, or with a wrong number of arguments, is an error that changes
// nothing: the table holds for all of them.
func TestEveryCommandInEveryState(t *testing.T) {
	b := serve(t, newFake(standardMail(1)...), func(_ *Config, p *Policy, _ *Listener) { p.MaxErrors = 1000 })
	before := b.dial()
	before.want("+OK*")
	after := b.login()
	for verb, c := range commandTable() {
		for state, client := range map[state]*client{authorization: before, transaction: after} {
			if c.states&state == 0 {
				client.ask(verb, "-ERR not in this state")
				client.ask(verb+" 1", "-ERR not in this state")
				client.ask(verb+" 1 2 3", "-ERR not in this state")
				continue
			}
			least, most := c.shape.count()
			if c.shape == rest {
				least, most = 1, 1000
			}
			if least > 0 {
				client.ask(verb, "-ERR an argument is missing")
			}
			if most < 1000 {
				client.ask(verb+strings.Repeat(" 1", most+1), "-ERR there is an argument too many")
			}
		}
	}
	before.ask("USER "+testName, "+OK*")
	before.ask("PASS "+testSecret, "-ERR [IN-USE]*")
	after.ask("STAT", "+OK 1 22")
	if after.ask("QUIT", "+OK*") != "+OK mail.example.org POP3 server signing off (1 messages left)" {
		t.Error("something was marked")
	}
}

// 500 commands in one write are answered in order, and in a few writes, not 500.
func TestPipelining(t *testing.T) {
	f := newFake(standardMail(1)...)
	writes := &countingConn{}
	b := serveWrapped(t, func(c net.Conn) net.Conn {
		writes.Conn = c
		return writes
	}, f)
	c := b.login()
	before := writes.count.Load()
	c.send(strings.Repeat("LIST 1\r\nNOOP\r\nLIST 2\r\nRETR 1\r\nDELE 1\r\nLIST\r\nRSET\r\nUIDL 1\r\nSTAT\r\nTOP 1 0\r\n", 50))
	for range 50 {
		c.want("+OK 1 22")
		c.want("+OK")
		c.want("-ERR no such message, only 1 in maildrop")
		c.want("+OK 22 octets")
		c.body()
		c.want("+OK message 1 deleted")
		c.want("+OK 0 messages (0 octets)")
		c.body()
		c.want("+OK maildrop has 1 messages (22 octets)")
		c.want("+OK 1 uid-1")
		c.want("+OK 1 22")
		c.want("+OK top of message follows")
		c.body()
	}
	if n := writes.count.Load() - before; n > 50 {
		t.Errorf("%d writes", n)
	}
}

// countingConn counts the writes to a connection, and may look at each before it is made.
type countingConn struct {
	net.Conn
	count atomic.Int64
	look  func(p []byte)
}

func (c *countingConn) Write(p []byte) (int, error) {
	c.count.Add(1)
	if c.look != nil {
		c.look(p)
	}
	return c.Conn.Write(p)
}

func (c *countingConn) NetConn() net.Conn { return c.Conn }
