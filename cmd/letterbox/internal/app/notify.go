package app

import (
	"context"
	"io"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
	"github.com/rs/zerolog"
)

// notifier tells the service manager what happens (sd_notify(3)), or our own supervisor where that started us. Without
// either every call is a no-op.
type notifier struct {
	log  zerolog.Logger
	boss io.Writer // the supervisor's connection, nil without
}

func (n notifier) supervised() bool { return n.boss != nil }

func (n notifier) send(state string) {
	_, err := daemon.SdNotify(false, state)
	if n.boss != nil {
		_, err = io.WriteString(n.boss, state+"\n")
	}
	if err != nil {
		n.log.Warn().Err(err).Msg("the service manager can't be told")
	}
}

func (n notifier) ready()    { n.send(daemon.SdNotifyReady) }
func (n notifier) stopping() { n.send(daemon.SdNotifyStopping) }

// reloading carries the clock because Type=notify-reload asks for it.
func (n notifier) reloading() {
	n.send(daemon.SdNotifyReloading + "\n" + daemon.SdNotifyMonotonicUsec())
}

// watchdog answers the service manager's watchdog until ctx ends, twice an interval, as long as alive comes back. Whether the
// store can write does not matter: a restart mends no full disk.
func (n notifier) watchdog(ctx context.Context, alive func()) {
	interval, err := daemon.SdWatchdogEnabled(false)
	if err != nil || interval == 0 {
		return
	}
	tick := time.NewTicker(interval / 2)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			alive()
			n.send(daemon.SdNotifyWatchdog)
		}
	}
}
