package pop3d

import (
	"fmt"
	"io"
	"math"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"example.org/letterbox/store"
)

// inUse returns what heap and stacks take.
func inUse() int64 {
	runtime.GC()
	runtime.GC() // once more: pools keep what they hold for one
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapInuse + m.StackInuse)
}

// TestIdleSessionsAreSmall holds the memory of a session that waits before login, the test's own end of the connection with
// it, to what lets 10,000 of them stay within 300 MiB.
func TestIdleSessionsAreSmall(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector has stacks of its own size")
	}
	const most = 300 << 20 / 10_000
	sessions := 400
	if os.Getenv("LETTERBOX_LONG") != "" {
		sessions = 4000 // two descriptors each
	}
	b := serve(t, newFake(), unobserved)
	dial := func() { b.dial().want("+OK*") }
	dial() // whatever is made once
	before := inUse()
	for range sessions {
		dial()
	}
	each := (inUse() - before) / int64(sessions)
	t.Logf("a session takes %d octets", each)
	if each > most {
		t.Errorf("a session takes %d octets, over %d", each, most)
	}
}

// TestLoggedInSessionsAreSmall holds the memory of a session with 1,000 messages, the maildrop of the store on disk and the
// test's own end with it, to what lets 1,000 of them stay within 100 MiB.
func TestLoggedInSessionsAreSmall(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector has stacks of its own size")
	}
	const messages, most = 1000, 100 << 20 / 1000
	accounts := 20
	if os.Getenv("LETTERBOX_LONG") != "" {
		accounts = 1000
	}
	s := newReal(t)
	var everyone []store.Recipient
	for i := range accounts {
		everyone = append(everyone, s.account(fmt.Sprintf("user%d@example.org", i)))
	}
	for range messages {
		s.deliverTo("A: b\r\n\r\n", everyone)
	}
	b := serve(t, s, unobserved)
	login := func(i int) {
		c := b.dial()
		c.want("+OK*")
		c.ask(fmt.Sprintf("USER user%d@example.org", i), "+OK*")
		c.ask("PASS "+testSecret, "+OK maildrop has 1000 messages*")
	}
	login(0) // whatever is made once
	before := inUse()
	for i := 1; i < accounts; i++ {
		login(i)
	}
	each := (inUse() - before) / int64(accounts-1)
	t.Logf("a session takes %d octets", each)
	if each > most {
		t.Errorf("a session takes %d octets, over %d", each, most)
	}
}

// TestSlowReaderCostsLittleAndDelaysNobody has clients take 1 KiB a second of a RETR of 50 MiB from the store on disk.
func TestSlowReaderCostsLittleAndDelaysNobody(t *testing.T) {
	const most = 64 << 10
	slow := 8
	s := newReal(t)
	var names []string
	body := bodyOf(50 << 20)
	var everyone []store.Recipient
	for i := range slow + 1 {
		names = append(names, fmt.Sprintf("user%d@example.org", i))
		everyone = append(everyone, s.account(names[i]))
	}
	s.deliverTo(body, everyone)
	s.deliverTo("Subject: small\r\n\r\n", everyone[slow:])
	b := serve(t, s, unobserved)
	login := func(i int) *client {
		c := b.dial()
		c.want("+OK*")
		c.ask("USER "+names[i], "+OK*")
		c.ask("PASS "+testSecret, "+OK*")
		return c
	}
	var clients []*client
	for i := range slow {
		clients = append(clients, login(i))
	}
	quick := login(slow)
	before := inUse()
	stop := make(chan struct{})
	defer close(stop)
	for _, c := range clients {
		c.send("RETR 1\r\n")
		c.want("+OK*")
		go func() {
			tick := time.NewTicker(time.Second)
			defer tick.Stop()
			for {
				select {
				case <-stop:
					return
				case <-tick.C:
					if _, err := io.ReadFull(c.r, make([]byte, 1<<10)); err != nil {
						return
					}
				}
			}
		}()
	}
	// What the store does in the background comes and goes, what a session holds stays: the readers are at it for hours.
	each := (inUse() - before) / int64(slow)
	for deadline := time.Now().Add(patience); each > most && time.Now().Before(deadline); {
		time.Sleep(10 * time.Millisecond) // no event tells
		each = (inUse() - before) / int64(slow)
	}
	t.Logf("a slow session takes %d octets", each)
	if each > most {
		t.Errorf("a slow session takes %d octets, over %d", each, most)
	}
	took := time.Duration(math.MaxInt64)
	for try := 0; try < 5 && took > time.Second; try++ { // it takes some 20 ms, but where the machine stands still
		began := time.Now()
		for range 100 {
			quick.ask("RETR 2", "+OK*")
			if got := quick.body(); !strings.Contains(got, "Subject: small") {
				t.Fatal(got)
			}
		}
		took = time.Since(began)
	}
	if took > time.Second {
		t.Errorf("100 messages took another client %v", took)
	}
}
