package metrics

import (
	"html/template"
	"net/http"
	"net/http/pprof"
	"strings"

	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// maxScrapes bounds the scrapes that are answered at once; more get a 503.
const maxScrapes = 8

const page = `<!doctype html>
<html lang="en"><meta charset="utf-8"><title>letterbox {{.Role}}</title>
<h1>letterbox {{.Role}}</h1>
<p>Version {{.Version}}</p>
<ul>
<li><a href="/metrics">/metrics</a> for Prometheus
<li><a href="/healthz">/healthz</a> does the process work?
<li><a href="/readyz">/readyz</a> does it take and give mail?
</ul>
</html>
`

// Pages is what is served beside the metrics.
type Pages struct {
	Healthy, Ready func() error // nil always says yes
	Profiles       bool         // Go's profiles below /debug/pprof/
}

// profiles serves those of net/http/pprof, which registers itself only where nobody serves.
func profiles(mux *http.ServeMux) {
	mux.HandleFunc("GET /debug/pprof/", pprof.Index)
	mux.HandleFunc("GET /debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
}

// Handler serves /metrics (OpenMetrics where the scraper asks for it), /healthz, /readyz, and a page at / that names them.
//
// The two checks are asked at each request: nil answers 200 and "ok", an error 503 and its text, which anybody who reaches
// the address can read.
func (m *Metrics) Handler(p Pages) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{
		Registry: m.registry, EnableOpenMetrics: true, MaxRequestsInFlight: maxScrapes,
	}))
	mux.Handle("GET /healthz", checkHandler(p.Healthy))
	mux.Handle("GET /readyz", checkHandler(p.Ready))
	if p.Profiles {
		profiles(mux)
	}
	landing := template.Must(template.New("page").Parse(page))
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		_ = landing.Execute(w, struct{ Role, Version string }{m.role, m.version}) // the client has gone
	})
	return guarded(mux)
}

func checkHandler(check func() error) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		text, status := "ok", http.StatusOK
		if check != nil {
			if err := check(); err != nil {
				text, status = strings.Join(strings.Fields(err.Error()), " "), http.StatusServiceUnavailable
			}
		}
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.Header().Set("Cache-Control", "no-store")
		w.WriteHeader(status)
		_, _ = w.Write([]byte(text + "\n")) // the client has gone
	})
}

// guarded sets the headers that keep a browser from doing more than showing the page.
func guarded(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Content-Type-Options", "nosniff")
		w.Header().Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
		next.ServeHTTP(w, r)
	})
}
