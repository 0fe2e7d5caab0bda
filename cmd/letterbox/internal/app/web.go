package app

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/exporter-toolkit/web"
	"github.com/rs/zerolog"

	"example.org/letterbox/cmd/letterbox/internal/config"
	"example.org/letterbox/metrics"
)

// CheckWeb finds what is wrong with the file that says who may reach the metrics, and how.
func CheckWeb(c *config.Config) error {
	if c.Metrics.WebConfig == "" {
		return nil
	}
	if err := web.Validate(c.Metrics.WebConfig); err != nil {
		return fmt.Errorf("metrics.web_config %s (from %s): %w", c.Metrics.WebConfig, c.Source("metrics.web_config"), shorter(err))
	}
	return nil
}

// shorter leaves the path out of an error of package fs, since the sentence around it names it.
func shorter(err error) error {
	if pathErr := (*fs.PathError)(nil); errors.As(err, &pathErr) {
		return pathErr.Err
	}
	return err
}

// serveHTTP serves health and metrics on l until the process stops: on a network address as the operator's web configuration
// says, on a socket of the process's own in clear, since only its user reaches that.
func (s *process) serveHTTP(l net.Listener, public bool) {
	path := ""
	if public {
		path = s.Config.Metrics.WebConfig
	}
	server := &http.Server{
		Handler:           s.metrics.Handler(metrics.Pages{Healthy: s.healthy, Ready: s.ready, Profiles: public && s.Config.Metrics.Pprof}),
		ReadHeaderTimeout: 10 * time.Second,
		WriteTimeout:      time.Minute,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    16 << 10,
		ErrorLog:          slog.NewLogLogger(bridge{s.log}, slog.LevelDebug), // a stranger's handshake that fails is no news
	}
	s.defers(func(context.Context) error { return server.Close() })
	s.tasks.Go(func() {
		err := web.Serve(l, server, &web.FlagConfig{WebConfigFile: &path}, slog.New(bridge{s.log}))
		if !errors.Is(err, http.ErrServerClosed) {
			s.fail(fmt.Errorf("%s: %w", l.Addr(), err))
		}
	})
}

// bridge writes what the web server's library logs as warnings and errors into our log.
type bridge struct{ log zerolog.Logger }

func (b bridge) Enabled(_ context.Context, level slog.Level) bool { return level >= slog.LevelWarn }

func (b bridge) Handle(_ context.Context, r slog.Record) error {
	e := b.log.Warn()
	if r.Level >= slog.LevelError {
		e = b.log.Error()
	}
	r.Attrs(func(a slog.Attr) bool {
		e = e.Str(a.Key, a.Value.String())
		return true
	})
	e.Str("listener", metricsName).Msg(r.Message)
	return nil
}

func (b bridge) WithAttrs([]slog.Attr) slog.Handler { return b }
func (b bridge) WithGroup(string) slog.Handler      { return b }
