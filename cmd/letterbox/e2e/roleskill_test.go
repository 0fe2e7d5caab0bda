package e2e

import (
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// TestRolesKilled kills each of the three processes in turn under load: nothing that was acknowledged is lost or comes back
// after its deletion, no lock of a maildrop outlives its process by more than a second, the others never exit, and nobody sees
// anything but a temporary refusal or a broken connection.
func TestRolesKilled(t *testing.T) {
	lasts, every := 7*time.Second, 1200*time.Millisecond
	if long() {
		lasts = time.Minute
	}
	s := serveShape(t, shapeSplit, filepath.Join(t.TempDir(), "data"), floodArgs()...)
	f := newFlood(6, 1<<40)
	c := &carriers{server: s, flood: f, out: drained{}, gone: map[string]bool{}}
	c.start(t)
	kills := map[string]int{}
	for n := 0; n < 3 || time.Duration(n)*every < lasts; n++ {
		time.Sleep(every) // the load's own time, not a wait for an event
		role := roles()[n%3]
		kills[role]++
		c.killed.Store(time.Now().UnixNano())
		if err := s.childProcess(role).Kill(); err != nil {
			t.Errorf("%s does not run: %v", role, err)
		}
	}
	c.stop()
	s.healthy()
	c.drainAll(t)
	f.check(t, c.out)
	if len(f.acked) < 100 {
		t.Errorf("only %d messages were acknowledged", len(f.acked))
	}
	t.Logf("%d messages acknowledged, %d begun; kills: %v", len(f.acked), len(f.begun), kills)
	lines, _ := s.log.from(0)
	ends := map[string]int{}
	for _, l := range lines {
		if strings.HasPrefix(l.Message, "process ended") {
			ends[l.Of]++
		}
	}
	for _, role := range roles() {
		if ends[role] != kills[role] {
			t.Errorf("%s was killed %d times and ended %d times", role, kills[role], ends[role])
		}
	}
}

// TestRoleHangs stops each of the three processes where it is: the supervisor finds that it does not answer, and another one
// takes its place.
func TestRoleHangs(t *testing.T) {
	if !long() {
		t.Skip("waits for half a minute: LETTERBOX_LONG=1")
	}
	t.Parallel()
	s := serveShape(t, shapeSplit, filepath.Join(t.TempDir(), "data"), floodArgs()...)
	put(t, s, smallMail(), floodUser(0))
	for _, role := range roles() {
		if err := s.childProcess(role).Signal(syscall.SIGSTOP); err != nil {
			t.Fatal(err)
		}
	}
	for _, role := range roles() {
		s.await(func(l logLine) bool { return strings.HasPrefix(l.Message, "process ended") && l.Of == role })
	}
	s.healthy()
	put(t, s, smallMail(), floodUser(0))
	if mail := drain(t, s, floodUser(0)); len(mail) != 2 {
		t.Errorf("%d messages, want 2", len(mail))
	}
}

// healthy waits until `letterbox health` is content.
func (s *server) healthy() {
	s.t.Helper()
	deadline := time.Now().Add(patience)
	for {
		out, err := letterbox(s.t, "health", "--data", s.data).CombinedOutput()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			s.t.Fatalf("health: %v: %s", err, out)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// carriers send and fetch mail without end, whatever breaks.
type carriers struct {
	server *server
	flood  *flood
	killed atomic.Int64 // when a process was killed last
	over   atomic.Bool
	all    sync.WaitGroup

	mu   sync.Mutex
	out  drained
	gone map[string]bool // user and UIDL of what a QUIT that was answered deleted
}

func (c *carriers) start(t *testing.T) {
	for range c.flood.senders {
		c.all.Go(func() {
			for !c.over.Load() {
				if err := c.flood.session(c.server.addr["smtp"]); err != nil && !mayBreak(err, "451") {
					t.Errorf("a sender saw %v", err)
				}
			}
		})
	}
	for n := range floodAccounts {
		c.all.Go(func() {
			for !c.over.Load() {
				c.fetch(t, floodUser(n))
			}
		})
	}
}

// fetch empties a maildrop once, or not.
func (c *carriers) fetch(t *testing.T, user string) {
	began := time.Now()
	conn, err := dialPOP(c.server.addr["pop3"], user)
	if err != nil {
		inUse := strings.Contains(err.Error(), "[IN-USE]")
		if !mayBreak(err, "-ERR [SYS/TEMP]") && !inUse {
			t.Errorf("login of %s: %v", user, err)
		}
		if since := began.Sub(time.Unix(0, c.killed.Load())); inUse && since > time.Second {
			t.Errorf("the maildrop of %s is locked %s after the last kill", user, since)
		}
		return
	}
	defer conn.Close()
	got, err := conn.drain()
	if err != nil && !mayBreak(err, "-ERR [SYS/TEMP]") {
		t.Errorf("drain of %s: %v", user, err)
	}
	c.keep(t, user, got, err == nil)
}

// keep notes what came out. Of a session whose QUIT had no answer the same may come out again.
func (c *carriers) keep(t *testing.T, user string, got []fetched, deleted bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	again := drained{}
	for _, m := range got {
		key := user + " " + m.uidl
		if c.gone[key] {
			t.Errorf("message %s of %s came back after its deletion", m.uidl, user)
		}
		if _, seen := c.gone[key]; seen {
			again.add(t, user, m)
		} else {
			c.out.add(t, user, m)
		}
		c.gone[key] = deleted
	}
}

func (c *carriers) stop() {
	c.over.Store(true)
	c.flood.next.Store(c.flood.limit)
	c.all.Wait()
}

// drainAll fetches what is left, from processes that nobody kills any more.
func (c *carriers) drainAll(t *testing.T) {
	t.Helper()
	for n := range floodAccounts {
		c.keep(t, floodUser(n), drain(t, c.server, floodUser(n)), true)
	}
}

// mayBreak tells whether err is what a peer may see of a process that is killed: a broken connection, or a reply that begins
// with temporary. The supervisor holds the sockets, so that no connection is refused.
func mayBreak(err error, temporary string) bool {
	if reply := (*replyError)(nil); errors.As(err, &reply) {
		return strings.HasPrefix(reply.got, temporary)
	}
	var netErr net.Error
	if errors.As(err, &netErr) && netErr.Timeout() {
		return false
	}
	return !errors.Is(err, syscall.ECONNREFUSED)
}

// TestSplitFails wants the supervisor to stop at once, with the exit status of the process that can't start, and nothing said
// but what that said.
func TestSplitFails(t *testing.T) {
	running := serveShape(t, shapeServe, filepath.Join(t.TempDir(), "data"))
	refused(t, []string{"--split", "--data", running.data}, []string{running.data, "another letterbox process"})
	put(t, running, []byte(header), alice)
}

// TestDaemonsWithoutStore starts the daemons alone: they come up, say that they are not ready and why, put everything off, and
// go on by themselves once the store is there.
func TestDaemonsWithoutStore(t *testing.T) {
	data := filepath.Join(t.TempDir(), "data")
	cert, key := certificate(t)
	args := []string{"--data", data, "--log-format", "json", "--tls-cert", cert, "--tls-key", key, "--smtp", "127.0.0.1:0",
		"--pop3", "127.0.0.1:0", "--pop3s", "off", "--metrics", "off", "--account", alice + ":" + password, "--run", t.TempDir()}
	s := newServer(t, shapeRoles, data)
	for _, role := range []string{"smtpd", "pop3d"} {
		s.start(role, roleCommand(t, role, args))
	}
	s.ready("smtp", "pop3")
	if _, err := tryPut(s, []byte(header), alice); err == nil || !strings.HasPrefix(err.Error(), "reply 451 ") {
		t.Errorf("a sender saw %v", err)
	}
	if _, err := dialPOP(s.addr["pop3"], alice); err == nil || !strings.HasPrefix(err.Error(), "reply -ERR [SYS/TEMP]") {
		t.Errorf("a client saw %v", err)
	}
	for _, role := range []string{"smtpd", "pop3d"} {
		out, err := letterbox(t, "health", role, "--data", data, "--run", args[len(args)-1]).CombinedOutput()
		if err == nil || !strings.Contains(string(out), "not ready: the store's process does not answer") {
			t.Errorf("health %s: %v, %s", role, err, out)
		}
	}
	s.start("store", roleCommand(t, "store", args))
	id := putAgain(t, s, []byte(header), alice)
	if got := drain(t, s, alice); len(got) != 1 || got[0].uidl != id {
		t.Errorf("want the message %s, got %d", id, len(got))
	}
}

// TestTwoStoresOneRun starts a second store in the folder of the first one's sockets: it is refused, and the first one lives.
func TestTwoStoresOneRun(t *testing.T) {
	run := t.TempDir()
	first := serveShape(t, shapeRoles, filepath.Join(t.TempDir(), "data"), "--run", run)
	other := filepath.Join(t.TempDir(), "other")
	code, text := exit(t, letterbox(t, "store", "--data", other, "--run", run, "--metrics", "off", "--log-format", "json"))
	if code != 2 || !strings.Contains(text, "another process listens on "+run) {
		t.Errorf("exit code %d: %s", code, text)
	}
	// A command for the other data folder reaches its files, not the store that has the sockets.
	out, err := letterbox(t, "user", "list", "--data", other, "--run", run).CombinedOutput()
	if err != nil || strings.Contains(string(out), alice) {
		t.Errorf("%v: %s", err, out)
	}
	put(t, first, []byte(fmt.Sprint(header, "\r\nstill there\r\n")), alice)
}
