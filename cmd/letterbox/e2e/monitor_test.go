package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"example.org/letterbox/metrics/board"
)

const monitoring = repository + "/deploy/monitoring"

// TestRules lets Prometheus's own tool judge the rules, and fires each alert by its fault.
func TestRules(t *testing.T) {
	need(t, "promtool")
	folder := t.TempDir()
	for _, file := range []string{monitoring + "/rules.yml", "testdata/rules_test.yml"} {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(folder, filepath.Base(file)), text)
	}
	promtool(t, folder, nil, "check", "rules", "rules.yml")
	promtool(t, folder, nil, "test", "rules", "rules_test.yml")
	promtool(t, folder, nil, "check", "config", "--syntax-only", absolute(t, monitoring+"/prometheus.yml"))
	for _, name := range []string{"scrape.yml", "scrape-split.yml"} {
		promtool(t, folder, nil, "check", "config", absolute(t, monitoring+"/"+name))
	}
}

func absolute(t testing.TB, path string) string {
	t.Helper()
	path, err := filepath.Abs(path)
	if err != nil {
		t.Fatal(err)
	}
	return path
}

func promtool(t *testing.T, folder string, stdin []byte, args ...string) {
	t.Helper()
	cmd := exec.Command("promtool", args...)
	cmd.Dir, cmd.Stdin = folder, bytes.NewReader(stdin)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("promtool %s: %v\n%.4000s", strings.Join(args, " "), err, out)
	}
}

// unfetched is an account whose mail nobody fetches: what a scrape says of waiting mail is not left to the moment it falls on.
const unfetched = "carol@mail.example"

// monitored is a server with a Prometheus that watches it.
type monitored struct {
	*server
	prometheus string // its address
}

// watched starts letterbox in one process with everything that can be counted, and env.
func watched(t *testing.T, env ...string) *server {
	t.Helper()
	cert, key := certificate(t)
	data := filepath.Join(t.TempDir(), "data")
	cmd := letterbox(t, "serve", "--data", data, "--log-format", "json", "--smtp", "127.0.0.1:0", "--smtps", "127.0.0.1:0", "--lmtp", "127.0.0.1:0",
		"--pop3", "127.0.0.1:0", "--pop3s", "127.0.0.1:0", "--metrics", "127.0.0.1:0", "--hostname", "localhost", "--tls-cert", cert, "--tls-key", key,
		"--account", alice+":"+password, "--account", bob+":"+password, "--account", unfetched+":"+password)
	cmd.Env = append(append(cmd.Env, "LETTERBOX_METRICS_PER_ACCOUNT=true"), env...)
	s := begin(t, data, cmd)
	s.cert = cert
	s.ready("smtp", "smtps", "lmtp", "pop3", "pop3s", "metrics")
	return s
}

// monitor starts such a server, and a real Prometheus with our rules that watches it.
func monitor(t *testing.T, thresholds board.Thresholds) monitored {
	t.Helper()
	need(t, "prometheus", "promtool")
	s := watched(t, "LETTERBOX_CANARY_EVERY=1s")
	folder := t.TempDir()
	write(t, filepath.Join(folder, "rules.yml"), thresholds.Write())
	write(t, filepath.Join(folder, "prometheus.yml"), []byte(fmt.Sprintf(`global: {scrape_interval: 1s, evaluation_interval: 1s}
rule_files: [rules.yml]
scrape_configs: [{job_name: letterbox, static_configs: [{targets: [%q]}]}]
`, s.addr["metrics"])))
	m := monitored{s, freeAddress(t)}
	p := exec.Command("prometheus", "--config.file="+folder+"/prometheus.yml", "--storage.tsdb.path="+folder+"/data",
		"--web.listen-address="+m.prometheus, "--enable-feature=exemplar-storage")
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		p.Process.Kill()
		p.Wait()
	})
	return m
}

// freeAddress is a port of 127.0.0.1 on which nobody listens yet.
func freeAddress(t *testing.T) string {
	t.Helper()
	return freeOn(t, "127.0.0.1")
}

// query evaluates an expression over HTTP and returns how many series it has.
func (m monitored) query(expr string) (int, error) {
	r, err := http.PostForm("http://"+m.prometheus+"/api/v1/query", url.Values{"query": {expr}})
	if err != nil {
		return 0, err
	}
	defer r.Body.Close()
	var answer struct {
		Status, Error string
		Data          struct{ Result []any }
	}
	if err := json.NewDecoder(r.Body).Decode(&answer); err != nil {
		return 0, err
	}
	if answer.Status != "success" {
		return 0, fmt.Errorf("%s: %s", expr, answer.Error)
	}
	return len(answer.Data.Result), nil
}

// await waits until each expression has series, while the load goes on, and returns those that have none in time.
func (m monitored) awaitSeries(t *testing.T, exprs []string, limit time.Duration) (empty []string) {
	t.Helper()
	var wrong error
	for deadline := time.Now().Add(limit); len(exprs) > 0 && time.Now().Before(deadline); {
		m.load(t)
		empty = nil
		for _, expr := range exprs {
			n, err := m.query(expr)
			if wrong = err; n == 0 || err != nil {
				empty = append(empty, expr)
			}
		}
		exprs = empty
	}
	if wrong != nil {
		t.Error(wrong)
	}
	return exprs
}

// dashboardExprs are the dashboard's expressions as Grafana would ask them.
func dashboardExprs() (all []string) {
	fill := strings.NewReplacer("$job", "letterbox", "$instance", ".+", "$__rate_interval", "15s")
	for _, p := range board.Panels() {
		for _, q := range p.Queries {
			all = append(all, fill.Replace(q.Expr))
		}
	}
	return all
}

// TestMonitoring scrapes a real run under mixed load with faults: all that dashboard and rules ask has an answer.
func TestMonitoring(t *testing.T) {
	t.Parallel()
	thresholds := board.Defaults()
	thresholds.NothingAccepted = time.Minute
	m := monitor(t, thresholds)
	put(t, m.server, smallMail(), unfetched)
	for _, args := range [][]string{{"verify"}, {"backup", filepath.Join(t.TempDir(), "backup")}} {
		if out, err := letterbox(t, append(args, "--data", m.data)...).CombinedOutput(); err != nil {
			t.Fatalf("%v %s", err, out)
		}
	}
	exprs := dashboardExprs()
	comparison := regexp.MustCompile(` (==|!=|>|<) -?[0-9.]+`)
	for _, r := range thresholds.Rules() {
		// Whether it fires is promtool's to test; here, whether it looks at something. Mail that comes goes in seconds.
		if r.Name == "LetterboxNothingAccepted" && !long() {
			continue
		}
		exprs = append(exprs, comparison.ReplaceAllString(r.Expr, ""))
	}
	for _, r := range thresholds.Recordings() {
		exprs = append(exprs, r.Name)
	}
	for _, expr := range m.awaitSeries(t, exprs, 3*time.Minute) {
		t.Errorf("no series: %s", expr)
	}
	m.draw(t)
	m.faults(t)
}

// faults makes alerts pending or firing by what they are for.
func (m monitored) faults(t *testing.T) {
	t.Helper()
	for range 60 {
		c, err := dial(m.addr["pop3"])
		if err != nil {
			t.Fatal(err)
		}
		c.ok()
		c.pop("USER %s", alice)
		c.pop("PASS wrong")
		c.Close()
	}
	alert := func(name string) string { return `ALERTS{alertname="` + name + `"}` }
	for _, expr := range m.awaitSeries(t, []string{alert("LetterboxLoginFailures"), alert("LetterboxStartTLSFailures")}, patience) {
		t.Errorf("not even pending: %s", expr)
	}
	m.terminate()
	for deadline := time.Now().Add(patience); ; {
		if n, err := m.query(alert("LetterboxDown")); err == nil && n > 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("nobody notices that letterbox is down")
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// draw draws the dashboard where LETTERBOX_DRAW names a file for the picture.
func (m monitored) draw(t *testing.T) {
	t.Helper()
	target := os.Getenv("LETTERBOX_DRAW")
	if target == "" {
		return
	}
	need(t, "chromium", "python3")
	for end := time.Now().Add(90 * time.Second); time.Now().Before(end); {
		m.load(t)
	}
	cmd := exec.Command("python3", absolute(t, monitoring+"/draw.py"), "--prometheus", "http://"+m.prometheus, "--minutes", "1.5",
		"--rate-interval", "15s", "--png", target, filepath.Join(t.TempDir(), "page.html"))
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v %s", err, out)
	}
}

// scrape returns what /metrics says.
func (s *server) scrape(t testing.TB) []byte {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	q, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+s.addr["metrics"]+"/metrics", nil)
	if err != nil {
		t.Fatal(err)
	}
	r, err := http.DefaultClient.Do(q)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	text, err := io.ReadAll(r.Body)
	if err != nil || r.StatusCode != http.StatusOK {
		t.Fatalf("%s %v", r.Status, err)
	}
	return text
}
