package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// onDisk are the series that tell what the disk does, for the canary too, or what time does.
func onDisk(name string) bool {
	for _, prefix := range []string{"canary", "store_commit_group", "store_sync_", "store_index_", "store_log_bytes", "store_free_", "store_pending_"} {
		if strings.HasPrefix(name, "letterbox_"+prefix) {
			return true
		}
	}
	return !strings.HasPrefix(name, "letterbox_")
}

// TestCanaryCountsNowhere does rounds and looks for a trace of them: in no series of any process but letterbox_canary_*, in no
// log, list, backup or count; also where the listeners want a PROXY header from elsewhere, and have no place left.
func TestCanaryCountsNowhere(t *testing.T) {
	t.Parallel()
	for _, shape := range []string{shapeServe, shapeSplit} {
		t.Run(shape, func(t *testing.T) {
			t.Parallel()
			s := canaryBehindProxy(t, shape)
			ask := func(args ...string) string {
				code, text := said(t, letterbox(t, append(args, "--data", s.data)...))
				if code != 0 {
					t.Fatalf("%v: %d %s", args, code, text)
				}
				return text
			}
			look := func() map[string]any {
				all := map[string]any{"list": ask("user", "list", "--json"), "verify": strings.SplitN(ask("verify"), ",", 2)[1]}
				var stats map[string]any
				if err := json.Unmarshal([]byte(ask("stats", "--json")), &stats); err != nil {
					t.Fatal(err)
				}
				for _, name := range []string{"messages", "octets", "delivered", "deleted", "open_maildrops", "last_delivery", "last_drain", "mismatch", "lost_messages"} {
					all[name] = stats[name]
				}
				backup := filepath.Join(t.TempDir(), "backup")
				ask("backup", backup)
				text, err := os.ReadFile(backup)
				if err != nil || bytes.Contains(text, []byte("canary")) {
					t.Error("a backup knows the canary", err)
				}
				for _, role := range roles() {
					for name, v := range series(get(t, "http://"+s.metricsOf(role)+"/metrics")) {
						if !onDisk(name) && name != "letterbox_store_last_backup_timestamp_seconds" && name != "letterbox_store_last_verify_timestamp_seconds" {
							all[role+" "+name] = v
						}
					}
				}
				return all
			}
			before, lines := look(), len(s.log.String())
			for range 3 {
				ask("canary")
			}
			logged := s.log.String()[lines:]
			after := look()
			for name, v := range after {
				if fmt.Sprint(v) != fmt.Sprint(before[name]) {
					t.Errorf("%s was %v and is %v", name, before[name], v)
				}
			}
			if len(after) != len(before) || logged != "" {
				t.Errorf("%d things are known, %d were; the log says %q", len(after), len(before), logged)
			}
			if n := series(get(t, "http://"+s.metricsOf("store")+"/metrics"))[canaryRounds]; n != 3 {
				t.Errorf("%v rounds are counted", n)
			}
		})
	}
}

// canaryBehindProxy is a server whose listeners want a PROXY header, which they take from nobody here, and have one place for
// everybody but the canary.
func canaryBehindProxy(t *testing.T, shape string) *server {
	t.Helper()
	cert, key := certificate(t)
	config := write(t, filepath.Join(t.TempDir(), "letterbox.toml"), []byte(`[smtp]
listen = ["127.0.0.1:0 proxy"]
[pop3]
listen = ["127.0.0.1:0 tls proxy"]
[proxy]
trusted = ["192.0.2.1"]
[limits]
max_connections = 1
[metrics]
per_account = true
`))
	data := filepath.Join(t.TempDir(), "data")
	s := newServer(t, shape, data)
	args := []string{"serve", "--config", config, "--data", data, "--log-format", "json", "--tls-cert", cert, "--tls-key", key,
		"--metrics", "127.0.0.1:0", "--hostname", "localhost", "--account", alice + ":" + password}
	if shape == shapeSplit {
		args = append(args, "--split")
	}
	s.start("serve", letterbox(t, args...))
	s.ready("smtp", "pop3s")
	for _, role := range roles() {
		s.metricsOf(role)
	}
	s.healthy()
	return s
}

// get fetches a page.
func get(t *testing.T, url string) []byte {
	t.Helper()
	r, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	var text bytes.Buffer
	if _, err := text.ReadFrom(r.Body); err != nil || r.StatusCode != http.StatusOK {
		t.Fatalf("%s %v", r.Status, err)
	}
	return text.Bytes()
}

// TestCanaryKilled kills the store between the delivery and the deletion of a round: the next start knows nothing of it, and
// the next round goes well.
func TestCanaryKilled(t *testing.T) {
	t.Parallel()
	c := startCanaried(t, "0s")
	if code, text := c.byHand(); code != 0 {
		t.Fatalf("%d %s", code, text)
	}
	const records = "letterbox_store_commit_group_records_total"
	before := c.scrapeOf()[records]
	c.process("pop3d").Signal(syscall.SIGSTOP) // the kernel takes the connection, and nobody speaks
	round := letterbox(t, "canary", "--data", c.data, "--run", c.folder())
	if err := round.Start(); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(patience); c.scrapeOf()[records] == before; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("nothing is delivered")
		}
	}
	c.end("store", syscall.SIGKILL)
	c.process("pop3d").Signal(syscall.SIGCONT)
	if err := round.Wait(); err == nil {
		t.Error("the round that was cut off went well")
	}
	c.procs = slices.DeleteFunc(c.procs, (*proc).over) // its end was no stop
	c.run("store", c.args)
	for deadline := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		code, text := said(t, letterbox(t, "health", "--data", c.data, "--run", c.folder()))
		if code == 0 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal(text)
		}
	}
	lines, _ := c.log.from(0)
	for _, l := range slices.Backward(lines) {
		if l.Message == "listening" && l.Listener == "metrics" && l.Role == "store" {
			c.metrics = l.Addr
			break
		}
	}
	for _, args := range [][]string{{"verify"}, {"stats", "--json"}} {
		out, err := letterbox(t, append(args, "--data", c.data, "--run", c.folder())...).Output()
		if err != nil {
			t.Errorf("%v: %v %s", args, err, out)
		}
		var stats struct{ Messages, Delivered, Deleted int }
		if args[0] == "stats" && (json.Unmarshal(out, &stats) != nil || stats.Messages+stats.Delivered+stats.Deleted != 0) {
			t.Errorf("%s", out)
		}
	}
	if code, text := c.byHand(); code != 0 {
		t.Errorf("after the kill: %d %s", code, text)
	}
	if s := c.scrapeOf(); s["letterbox_store_delivered_messages_total"] != 0 || s[canaryRounds] != 1 {
		t.Errorf("%v", canarySeries(s))
	}
}
