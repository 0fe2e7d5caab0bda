package metrics

import (
	"flag"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	dto "github.com/prometheus/client_model/go"

	"example.org/letterbox/store"
)

func smtpLabels() map[string][]string {
	return map[string][]string{
		"verb": {"EHLO", "MAIL", "other"}, "end": {"quit", "eof"}, "connection": {"accepted", "busy"},
		"recipient": {"ok", "unknown"}, "message_result": {"accepted", "rejected"}, "message_reason": {"none", "size"},
	}
}

func pop3Labels() map[string][]string {
	return map[string][]string{
		"verb": {"USER", "RETR", "other"}, "end": {"quit", "eof"}, "connection": {"accepted", "busy"},
		"mechanism": {"USER", "PLAIN"}, "login": {"ok", "credential"},
	}
}

// full returns metrics in which every instrument and collector has been used.
func full() *Metrics {
	m := New("serve", "1.2.3", smtpLabels(), pop3Labels())
	now := time.Unix(1_700_000_000, 500_000_000)
	m.Store(func() store.Stats {
		return store.Stats{Messages: 3, Octets: 4096, Delivered: 10, Deleted: 7, LastDelivery: now, LastDrain: now,
			Oldest: now, LastBackup: now, LastVerify: now}
	})
	m.Accounts(func() []store.Account { return []store.Account{{Address: "me@localhost", Messages: 3, Octets: 4096}} })
	m.Canary([]string{"smtp", "login"}).Round("", time.Now(), time.Second)
	times := NewTimes()
	m.AddTimes(times)
	times.Synced(time.Millisecond)
	m.Certificates(func() map[string]time.Time { return map[string]time.Time{"smtp": now} })
	s, p := m.SMTP(), m.POP3()
	s.Listen("smtp")
	p.Listen("pop3s")
	s.Connection("smtp", "accepted")
	s.SessionStart("smtp")
	s.Command("MAIL", 250, time.Millisecond)
	s.Handshake("smtp", "1.3", "ok")
	s.Recipient("ok")
	s.Message("01ARZ3NDEKTSV4RRFFQ69G5FAV", "accepted", "none", 4096, time.Millisecond)
	s.Message("", "rejected", "size", 1<<30, time.Hour)
	s.SessionEnd("smtp", "quit", time.Second, 5000, 300)
	p.Connection("pop3s", "busy")
	p.SessionStart("pop3s")
	p.Command("RETR", true, time.Millisecond)
	p.Login("USER", "ok")
	p.Retrieved(4096, true)
	p.Deleted(2)
	p.SessionEnd("pop3s", "quit", time.Second, 100, 5000)
	return m
}

func gather(t testing.TB, m *Metrics) []*dto.MetricFamily {
	t.Helper()
	families, err := m.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	return families
}

// The names and labels are an interface: dashboards and alert rules of other people depend on them. Run with -update only
// together with a line in the CHANGELOG.
func TestNames(t *testing.T) {
	var lines []string
	for _, f := range gather(t, full()) {
		if !strings.HasPrefix(f.GetName(), "letterbox_") {
			continue
		}
		labels := map[string]bool{}
		for _, metric := range f.GetMetric() {
			for _, l := range metric.GetLabel() {
				labels[l.GetName()] = true
			}
		}
		line := []string{f.GetName(), strings.ToLower(f.GetType().String())}
		lines = append(lines, strings.Join(append(line, slices.Sorted(maps.Keys(labels))...), " "))
	}
	got := strings.Join(lines, "\n") + "\n"
	const golden = "testdata/names.txt"
	if update := flag.Lookup("update"); update != nil && update.Value.String() == "true" {
		if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if table := tableLines(); got != table {
		t.Errorf("the instruments are not those of the table:\n%s\nthe table:\n%s", got, table)
	}
	if got != string(want) {
		t.Errorf("names and labels are not those of %s:\n%s", golden, got)
	}
}

// tableLines are the lines of the golden file as the table has them.
func tableLines() string {
	var lines []string
	for _, i := range Instruments() {
		lines = append(lines, strings.Join(append([]string{i.Name, string(i.Kind)}, i.Labels...), " "))
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n") + "\n"
}

// TestAccountsAreBounded: accounts beyond the bound share one series.
func TestAccountsAreBounded(t *testing.T) {
	m := New("store", "1", nil, nil)
	m.Accounts(func() (all []store.Account) {
		for i := range maxAccounts + 2 {
			all = append(all, store.Account{Address: fmt.Sprintf("a%d@x", i), Messages: 1, Octets: 10})
		}
		return all
	})
	if n := value(t, m, "letterbox_store_account_messages", "account=other"); n != 2 {
		t.Errorf("the others have %g messages", n)
	}
	for _, f := range gather(t, m) {
		if f.GetName() == "letterbox_store_account_bytes" && len(f.GetMetric()) != maxAccounts+1 {
			t.Errorf("%d accounts have series", len(f.GetMetric()))
		}
	}
}

func TestMain(m *testing.M) {
	flag.Bool("update", false, "write testdata/names.txt")
	os.Exit(m.Run())
}

func TestLint(t *testing.T) {
	problems, err := testutil.GatherAndLint(full().registry)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
}

// value returns the number of the series with exactly these labels, as `name=value` in any order.
func value(t testing.TB, m *Metrics, name string, labels ...string) float64 {
	t.Helper()
	slices.Sort(labels)
	for _, f := range gather(t, m) {
		if f.GetName() != name {
			continue
		}
		for _, metric := range f.GetMetric() {
			var has []string
			for _, l := range metric.GetLabel() {
				has = append(has, l.GetName()+"="+l.GetValue())
			}
			slices.Sort(has)
			if slices.Equal(has, labels) {
				return metric.GetCounter().GetValue() + metric.GetGauge().GetValue() + float64(metric.GetHistogram().GetSampleCount())
			}
		}
	}
	t.Errorf("there is no series %s%v", name, labels)
	return 0
}

func TestValues(t *testing.T) {
	m := full()
	for _, c := range []struct {
		want   float64
		name   string
		labels []string
	}{
		{1, "letterbox_smtp_connections_total", []string{"listener=smtp", "result=accepted"}},
		{0, "letterbox_smtp_connections_total", []string{"listener=smtp", "result=busy"}},
		{0, "letterbox_smtp_sessions", []string{"listener=smtp"}},
		{1, "letterbox_smtp_session_ends_total", []string{"listener=smtp", "reason=quit"}},
		{1, "letterbox_smtp_session_duration_seconds", nil},
		{5000, "letterbox_smtp_received_bytes_total", []string{"listener=smtp"}},
		{300, "letterbox_smtp_sent_bytes_total", []string{"listener=smtp"}},
		{1, "letterbox_smtp_commands_total", []string{"verb=MAIL", "code=250"}},
		{1, "letterbox_tls_handshakes_total", []string{"daemon=smtp", "listener=smtp", "version=1.3", "result=ok"}},
		{0, "letterbox_tls_handshakes_total", []string{"daemon=pop3", "listener=pop3s", "version=none", "result=failed"}},
		{1, "letterbox_smtp_recipients_total", []string{"result=ok"}},
		{1, "letterbox_smtp_messages_total", []string{"result=accepted", "reason=none"}},
		{1, "letterbox_smtp_messages_total", []string{"result=rejected", "reason=size"}},
		{1, "letterbox_smtp_message_size_bytes", nil},
		{1, "letterbox_smtp_message_duration_seconds", nil},
		{1, "letterbox_pop3_connections_total", []string{"listener=pop3s", "result=busy"}},
		{1, "letterbox_pop3_commands_total", []string{"verb=RETR", "result=ok"}},
		{0, "letterbox_pop3_commands_total", []string{"verb=RETR", "result=err"}},
		{1, "letterbox_pop3_command_duration_seconds", nil},
		{1, "letterbox_pop3_logins_total", []string{"mechanism=USER", "result=ok"}},
		{1, "letterbox_pop3_retrieved_messages_total", []string{"result=complete"}},
		{4096, "letterbox_pop3_retrieved_bytes_total", nil},
		{2, "letterbox_pop3_deleted_messages_total", nil},
		{3, "letterbox_store_messages", nil},
		{4096, "letterbox_store_message_bytes", nil},
		{10, "letterbox_store_delivered_messages_total", nil},
		{7, "letterbox_store_deleted_messages_total", nil},
		{1_700_000_000.5, "letterbox_store_last_delivery_timestamp_seconds", nil},
		{1_700_000_000.5, "letterbox_tls_certificate_not_after_timestamp_seconds", []string{"listener=smtp"}},
	} {
		if got := value(t, m, c.name, c.labels...); got != c.want {
			t.Errorf("%s%v is %v, want %v", c.name, c.labels, got, c.want)
		}
	}
}

// Closed sets stand at zero before anything happens, so that a rate is right from the first event on.
func TestZeroAtStart(t *testing.T) {
	m := New("serve", "1", smtpLabels(), pop3Labels())
	value(t, m, "letterbox_smtp_messages_total", "result=rejected", "reason=size")
	value(t, m, "letterbox_smtp_recipients_total", "result=unknown")
	value(t, m, "letterbox_pop3_logins_total", "mechanism=PLAIN", "result=credential")
	value(t, m, "letterbox_pop3_retrieved_messages_total", "result=broken")
	m.SMTP().Listen("smtp")
	value(t, m, "letterbox_smtp_connections_total", "listener=smtp", "result=busy")
	value(t, m, "letterbox_smtp_session_ends_total", "listener=smtp", "reason=eof")
}

// No text from outside makes a series of its own.
func TestOther(t *testing.T) {
	m := full()
	strange := func(i int) {
		x := fmt.Sprintf("x%d\xff\"\n", i)
		s, p := m.SMTP(), m.POP3()
		s.Connection("smtp", x)
		s.SessionEnd("smtp", x, -time.Second, -1, -1)
		s.Command(x, i, 0)
		s.Command("MAIL", 100_000+i, 0)
		s.Handshake("smtp", x, x)
		s.Recipient(x)
		s.Message(x, x, x, -1, 0)
		p.Command(x, false, 0)
		p.Login(x, x)
		p.Retrieved(-1, false)
		p.Deleted(-1)
	}
	count := func() (n int) {
		for _, f := range gather(t, m) {
			if strings.HasPrefix(f.GetName(), "letterbox_") {
				n += len(f.GetMetric())
			}
		}
		return n
	}
	for i := range 700 { // all codes that there are come once
		strange(i)
	}
	before := count()
	for i := range 700 {
		strange(i)
		strange(700 + i)
	}
	if after := count(); after != before {
		t.Errorf("%d series became %d", before, after)
	}
	if value(t, m, "letterbox_smtp_recipients_total", "result=other") == 0 {
		t.Error("nothing was counted as other")
	}
}

func TestListenersAreBounded(t *testing.T) {
	m := New("serve", "1", smtpLabels(), nil)
	var wg sync.WaitGroup
	for i := range 3 * maxListeners {
		wg.Go(func() { m.SMTP().SessionStart(fmt.Sprintf("listener%d", i)) })
	}
	wg.Wait()
	if n := testutil.CollectAndCount(m.SMTP().current); n != maxListeners+1 {
		t.Errorf("%d listeners have series, want %d and other", n, maxListeners)
	}
}

// A process without a daemon has none of its series, and its instruments still work.
func TestRoles(t *testing.T) {
	m := New("smtpd", "1", smtpLabels(), nil)
	m.POP3().Deleted(1)
	for _, f := range gather(t, m) {
		if strings.HasPrefix(f.GetName(), "letterbox_pop3") || strings.HasPrefix(f.GetName(), "letterbox_store") {
			t.Errorf("smtpd has %s", f.GetName())
		}
	}
}

// A time that is not known is left out, not shown as 1970.
func TestUnknownTimes(t *testing.T) {
	m := New("store", "1", nil, nil)
	m.Store(func() store.Stats { return store.Stats{} })
	for _, f := range gather(t, m) {
		if strings.Contains(f.GetName(), "last_") && strings.HasPrefix(f.GetName(), "letterbox_") {
			t.Errorf("%s is there", f.GetName())
		}
	}
}

// BenchmarkMessage is what one accepted message costs in all instruments.
func BenchmarkMessage(b *testing.B) {
	m := full()
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			s := m.SMTP()
			for _, verb := range []string{"MAIL", "RCPT", "DATA"} {
				s.Command(verb, 250, time.Millisecond)
			}
			s.Recipient("ok")
			s.Message("01ARZ3NDEKTSV4RRFFQ69G5FAV", "accepted", "none", 4096, time.Millisecond)
		}
	})
}
