package smtpd

import (
	"runtime"
	"testing"
)

// TestIdleSessionsAreSmall holds the memory of an idle session, both goroutines and the test's own end of the connection with
// it, to what lets 10,000 of them stay within 250 MiB.
func TestIdleSessionsAreSmall(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector has stacks of its own size")
	}
	const sessions, most = 400, 25 << 10
	b := newBench(t, Policy{}, Listener{Name: "test"})
	b.hello() // whatever is made once
	before := inUse()
	for range sessions {
		b.hello()
	}
	if each := (inUse() - before) / sessions; each > most {
		t.Errorf("a session takes %d octets, over %d", each, most)
	} else {
		t.Logf("a session takes %d octets", each)
	}
}

func inUse() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapInuse + m.StackInuse
}
