package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"example.org/letterbox/cmd/letterbox/internal/config"
	"example.org/letterbox/cmd/letterbox/internal/term"
	"example.org/letterbox/store"
)

func traceCommands() []command {
	return []command{{
		name: "trace", usage: "ID|MESSAGE-ID|ADDRESS", text: "say whether mail came, who took it and when, and what was refused", min: 1, max: 1,
		keys: storeKeys, setup: trace,
		more: "It is found by the id that the 250 named and clients see as UIDL, by its Message-ID, by the address of its sender or of one\n" +
			"whom it was for, or by the id of an SMTP or POP3 session, which stands in refusals and in the log. With a message comes all\n" +
			"that became of it. The history reaches back as far as [retention] history_for and history_bytes let it.",
	}}
}

func trace(fs *flag.FlagSet) action {
	asJSON := jsonFlag(fs)
	since := fs.String("since", "", "only what happened within this time, as `1h` or 7d; without it all that is kept")
	limit := fs.Int("limit", 0, fmt.Sprintf("at most so many lines, the newest, as `100`; %d without it", store.MaxEvents))
	return func(ctx context.Context, c *call) error {
		q := store.Query{Text: c.args[0], Limit: *limit}
		if strings.TrimSpace(q.Text) == "" || len(q.Text) > 4<<10 {
			return usagef("name a message's id, a Message-ID, an address or a session")
		}
		if *limit < 0 || *limit > store.MaxEvents {
			return usagef("--limit is from 1 to %d", store.MaxEvents)
		}
		if *since != "" {
			d, err := config.ParseDuration(*since)
			if err != nil {
				return usagef("--since %s", err)
			}
			q.Since = time.Now().Add(-d)
		}
		return c.admin(ctx, adminTime, func(ctx context.Context, admin store.Admin) error {
			traced, err := admin.Trace(ctx, q)
			if errors.Is(err, store.ErrNoHistory) {
				return errors.New("no history is kept: set [retention] history_for to 30d, say, and what happens from then on can be traced")
			}
			if err != nil {
				return err
			}
			return printTraced(c.stdout, q, traced, *asJSON)
		})
	}
}

func printTraced(w io.Writer, q store.Query, traced store.Traced, asJSON bool) error {
	if asJSON {
		if traced.Events == nil {
			traced.Events = []store.Event{}
		}
		return term.JSON(w, traced)
	}
	if len(traced.Events) == 0 {
		_, err := fmt.Fprintf(w, "the history knows nothing of %q%s\n", q.Text, span(q))
		return err
	}
	if traced.More {
		fmt.Fprintf(w, "the newest %d lines; --since and --limit narrow it\n", len(traced.Events))
	}
	rows := make([][]string, len(traced.Events))
	for i := range traced.Events {
		e := &traced.Events[i]
		rows[i] = []string{e.Time.Local().Format(time.DateTime), string(e.Kind), whichMail(e), fate(e)}
	}
	return term.Table(w, []string{"TIME", "WHAT", "MESSAGE", "HOW"}, rows)
}

// span says of which time nothing is known.
func span(q store.Query) string {
	if q.Since.IsZero() {
		return ""
	}
	return " since " + q.Since.Local().Format(time.DateTime)
}

// whichMail names the messages of an event.
func whichMail(e *store.Event) string {
	switch n := len(e.Messages); n {
	case 0:
		return "-"
	case 1:
		return e.Messages[0].String()
	default:
		return strconv.Itoa(n) + " messages"
	}
}

// fate tells an event in words. What strangers wrote stands in quotes.
func fate(e *store.Event) string {
	var words []string
	say := func(is bool, format string, args ...any) {
		if is {
			words = append(words, fmt.Sprintf(format, args...))
		}
	}
	say(e.Code != 0, "%d to %s, %s", e.Code, e.Verb, e.Reason)
	say(!e.Was.IsZero(), "was %s", e.Was)
	say(e.From != "", "from %q", e.From)
	say(len(e.To) > 0, "to %s", quoted(e.To))
	say(len(e.Accounts) > 0, "%s %s", preposition(e.Kind), strings.Join(e.Accounts, ", "))
	say(e.MessageID != "", "Message-ID %q", e.MessageID)
	say(e.Octets > 0, "%d octets", e.Octets)
	say(e.Remote != "", "client %s", e.Remote)
	say(e.Session != "", "session %s", e.Session)
	say(e.Count > 0, "%d more like it from %s on", e.Count, e.First.Local().Format(time.TimeOnly))
	return strings.Join(words, ", ")
}

// preposition says what an account has to do with an event.
func preposition(k store.EventKind) string {
	switch k {
	case store.EventRetrieved, store.EventDeleted:
		return "by"
	case store.EventExpired, store.EventRemoved:
		return "of"
	default:
		return "for"
	}
}

func quoted(list []string) string {
	texts := make([]string, len(list))
	for i, text := range list {
		texts[i] = strconv.Quote(text)
	}
	return strings.Join(texts, " ")
}
