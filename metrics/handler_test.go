package metrics

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

func get(t *testing.T, url string, header ...string) (int, http.Header, string) {
	t.Helper()
	q, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	if len(header) == 2 {
		q.Header.Set(header[0], header[1])
	}
	r, err := http.DefaultClient.Do(q)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	body, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return r.StatusCode, r.Header, string(body)
}

func TestScrape(t *testing.T) {
	server := httptest.NewServer(full().Handler(Pages{}))
	defer server.Close()
	status, _, body := get(t, server.URL+"/metrics")
	if status != http.StatusOK {
		t.Fatalf("status %d", status)
	}
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"letterbox_build_info", "letterbox_store_messages", "go_goroutines", "process_cpu_seconds_total"} {
		if families[name] == nil {
			t.Errorf("no %s", name)
		}
	}
	if problems, err := testutil.GatherAndLint(full().registry); err != nil || len(problems) > 0 {
		t.Errorf("%v, %v", problems, err)
	}
	_, header, body := get(t, server.URL+"/metrics", "Accept", "application/openmetrics-text; version=1.0.0")
	if !strings.HasPrefix(header.Get("Content-Type"), "application/openmetrics-text") || !strings.HasSuffix(body, "# EOF\n") {
		t.Errorf("no OpenMetrics: %s", header.Get("Content-Type"))
	}
	if !strings.Contains(body, `# {msg="01ARZ3NDEKTSV4RRFFQ69G5FAV"} 4096.0`) {
		t.Error("no exemplar names the message")
	}
	// Native histograms travel in the protobuf form.
	_, header, body = get(t, server.URL+"/metrics", "Accept",
		"application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited")
	if !nativeHistogram(t, body, header) {
		t.Error("the histogram of message sizes is not native")
	}
}

func nativeHistogram(t *testing.T, body string, header http.Header) bool {
	t.Helper()
	d := expfmt.NewDecoder(strings.NewReader(body), expfmt.ResponseFormat(header))
	for {
		var f dto.MetricFamily
		if err := d.Decode(&f); errors.Is(err, io.EOF) {
			return false
		} else if err != nil {
			t.Fatal(err)
		}
		if f.GetName() == "letterbox_smtp_message_size_bytes" {
			h := f.GetMetric()[0].GetHistogram()
			return h.GetSchema() > 0 && len(h.GetPositiveSpan()) > 0 && len(h.GetBucket()) > 0
		}
	}
}

func TestHealth(t *testing.T) {
	healthy, ready := error(nil), errors.New("the store\r\ncan't  write")
	server := httptest.NewServer(full().Handler(Pages{Healthy: func() error { return healthy }, Ready: func() error { return ready }}))
	defer server.Close()
	if status, _, body := get(t, server.URL+"/healthz"); status != 200 || body != "ok\n" {
		t.Errorf("healthz: %d %q", status, body)
	}
	if status, _, body := get(t, server.URL+"/readyz"); status != 503 || body != "the store can't write\n" {
		t.Errorf("readyz: %d %q", status, body)
	}
	healthy, ready = ready, nil
	if status, _, _ := get(t, server.URL+"/healthz"); status != 503 {
		t.Errorf("healthz: %d", status)
	}
	if status, _, _ := get(t, server.URL+"/readyz"); status != 200 {
		t.Errorf("readyz: %d", status)
	}
}

func TestPages(t *testing.T) {
	server := httptest.NewServer(New("serve", "<b>1", nil, nil).Handler(Pages{}))
	defer server.Close()
	status, header, body := get(t, server.URL+"/")
	if status != 200 || !strings.Contains(body, "/readyz") || !strings.Contains(body, "&lt;b&gt;1") {
		t.Errorf("the page: %d %s", status, body)
	}
	if header.Get("X-Content-Type-Options") != "nosniff" || header.Get("Content-Security-Policy") == "" {
		t.Errorf("headers %v", header)
	}
	if status, _, _ := get(t, server.URL+"/debug/pprof/"); status != 404 {
		t.Errorf("profiles that nobody asked for: %d", status)
	}
	asked := httptest.NewServer(New("serve", "1", nil, nil).Handler(Pages{Profiles: true}))
	defer asked.Close()
	if status, _, body := get(t, asked.URL+"/debug/pprof/"); status != 200 || !strings.Contains(body, "goroutine") {
		t.Errorf("profiles: %d %s", status, body)
	}
	r, err := http.Post(server.URL+"/metrics", "text/plain", strings.NewReader("x"))
	if err != nil {
		t.Fatal(err)
	}
	r.Body.Close()
	if r.StatusCode != http.StatusMethodNotAllowed {
		t.Errorf("POST: %d", r.StatusCode)
	}
}
