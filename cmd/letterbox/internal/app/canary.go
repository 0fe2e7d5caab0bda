package app

import (
	"context"
	"crypto/rand"
	"errors"
	"strings"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"example.org/letterbox/cmd/letterbox/internal/config"
	"example.org/letterbox/cmd/letterbox/internal/probe"
	"example.org/letterbox/metrics"
	"example.org/letterbox/store"
	"example.org/letterbox/store/boltstore"
)

const (
	// roundTime bounds one round, roundPatience each wait within it.
	roundTime     = 30 * time.Second
	roundPatience = 10 * time.Second
	// firstRound is how long after the start the first round comes at the latest: the daemons of three processes start
	// behind the store.
	firstRound = 10 * time.Second
)

// canary looks whether mail flows: it sends itself a message through the listeners that everybody uses, and fetches it. Its
// address and secret are made for each round and stand in memory alone: what a log may hold, of a daemon that does not reach
// the store, is worth nothing.
type canary struct {
	store   *boltstore.Store
	counted *metrics.Canary
	log     zerolog.Logger
	name    string // for EHLO

	rounds sync.Mutex    // one at a time
	change chan struct{} // every has changed

	mu         sync.Mutex
	every      time.Duration
	smtp, pop3 target // known once all listeners are open
}

func newCanary(c *config.Config, s *boltstore.Store, counted *metrics.Canary, log zerolog.Logger) *canary {
	return &canary{store: s, counted: counted, log: log, name: c.Hostname, every: c.Canary.Every, change: make(chan struct{}, 1)}
}

// startCanary begins the rounds. It comes behind everything else, and stops first.
func (s *process) startCanary(context.Context) error {
	k := s.canary
	k.setTargets(s.target(smtpWay()), s.target(pop3Way()))
	if _, err := k.whole(); err != nil && s.Config.Canary.Every > 0 {
		return &InputError{"canary.every is set, but " + err.Error(), nil}
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	s.defers(func(context.Context) error {
		cancel()
		<-done
		return nil
	})
	go func() {
		defer close(done)
		k.run(ctx)
	}()
	return nil
}

func (k *canary) setTargets(smtp, pop3 target) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.smtp, k.pop3 = smtp, pop3
}

// setEvery changes how often there is a round; 0 for never.
func (k *canary) setEvery(d time.Duration) {
	k.mu.Lock()
	changed := k.every != d
	k.every = d
	k.mu.Unlock()
	if changed {
		select {
		case k.change <- struct{}{}:
		default:
		}
	}
}

func (k *canary) interval() time.Duration {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.every
}

// run does a round in each interval until ctx ends.
func (k *canary) run(ctx context.Context) {
	timer := time.NewTimer(0)
	<-timer.C
	for first := true; ; {
		if every := k.interval(); every > 0 && first {
			timer.Reset(min(every, firstRound))
		} else if every > 0 {
			timer.Reset(every)
		}
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-k.change:
			timer.Stop()
		case <-timer.C:
			first = false
			if _, err := k.round(ctx); err != nil {
				k.log.Warn().Str("reason", err.Error()).Msg("no round of the canary")
			}
		}
	}
}

// round does one round and counts it, unless the process stops meanwhile. It fails where there is no way to go.
func (k *canary) round(ctx context.Context) (store.Round, error) {
	way, err := k.whole()
	if err != nil {
		return store.Round{}, err
	}
	k.rounds.Lock()
	defer k.rounds.Unlock()
	// A domain that nobody can have (RFC 6761 section 6.4): whoever else names it is told what any other is.
	way.Address, way.Secret = strings.ToLower(rand.Text())+"@canary.invalid", rand.Text()
	k.store.SetCanary(way.Address, way.Secret)
	defer k.store.SetCanary("", "")
	limited, cancel := context.WithTimeout(ctx, roundTime)
	defer cancel()
	began := time.Now()
	err = way.Round(limited)
	took := time.Since(began)
	result := store.Round{Took: took, Text: "mail flows: a message went in by SMTP, was fetched by POP3 and deleted"}
	failed := (*probe.StepError)(nil)
	if errors.As(err, &failed) {
		result.Step, result.Text = string(failed.Step), blacken(failed.Err.Error(), way)
	}
	if ctx.Err() != nil {
		return result, nil
	}
	k.counted.Round(result.Step, time.Now(), took)
	if result.Step != "" {
		k.log.Warn().Str("step", result.Step).Str("reason", result.Text).Dur("took", took).Msg("canary failed")
	}
	return result, nil
}

// whole is the way through both listeners, or what is missing for it as the end of a sentence.
func (k *canary) whole() (probe.Canary, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	switch {
	case k.smtp.hosts == nil:
		return probe.Canary{}, errors.New("smtp.listen names no HOST:PORT that it could send to: set canary.smtp")
	case k.pop3.hosts == nil:
		return probe.Canary{}, errors.New("pop3.listen names no HOST:PORT that it could fetch from: set canary.pop3")
	}
	options := func(t target) probe.Options {
		return probe.Options{Target: t.String(), Security: t.security, Timeout: roundPatience, Dial: k.dialer(t)}
	}
	return probe.Canary{SMTP: options(k.smtp), POP3: options(k.pop3), Name: k.name}, nil
}

// blacken takes out of a text what nobody else is to know, though a server said it.
func blacken(text string, way probe.Canary) string {
	local, _, _ := strings.Cut(way.Address, "@")
	return strings.NewReplacer(local, "…", way.Secret, "…").Replace(text)
}

// owner is what the admin socket gives: the store's facts, and the canary.
type owner struct {
	*boltstore.Store
	canary *canary
}

// Canary does a round now.
func (o owner) Canary(ctx context.Context) (store.Round, error) {
	return o.canary.round(ctx)
}

// Canary asks the owner of the data folder for a round of its canary. It fails where none runs.
func Canary(ctx context.Context, c *config.Config) (store.Round, error) {
	if err := BecomeOwner(c.Data); err != nil {
		return store.Round{}, err
	}
	client, err := dialOwner(ctx, c)
	if err != nil {
		return store.Round{}, err
	}
	round, err := client.Canary(ctx)
	return round, errors.Join(err, client.Close())
}
