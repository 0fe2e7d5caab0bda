package history

import (
	"encoding/json"
	"slices"
	"strconv"
	"time"
	"unicode"
	"unicode/utf8"

	"example.org/letterbox/store"
)

const (
	// maxIDs and maxListed bound how many messages and addresses one line names. An event with more takes several lines, so
	// that each can be found.
	maxIDs    = 500
	maxListed = 40
	// maxLine bounds a line, in octets; a longer one was not written here.
	maxLine = 64 << 10
	// maxWord bounds texts that are no address.
	maxWord = 64
	// stamp is the form of a time.
	stamp = "2006-01-02T15:04:05.000Z"
)

// nullPath is what the null reverse-path is written as.
const nullPath = "<>"

// appendEvent appends the lines of an event.
func appendEvent(b []byte, e *store.Event) []byte {
	ids, to, accounts := e.Messages, e.To, e.Accounts
	for first := true; first || len(ids)+len(to)+len(accounts) > 0; first = false {
		part := *e
		part.Messages, ids = split(ids, maxIDs)
		part.To, to = split(to, maxListed)
		part.Accounts, accounts = split(accounts, maxListed)
		if len(e.Messages) == 1 {
			part.Messages = e.Messages
		}
		b = append(appendLine(b, &part), '\n')
	}
	return b
}

// split returns the first n of list, and the rest.
func split[T any](list []T, n int) (head, rest []T) {
	n = min(n, len(list))
	return list[:n], list[n:]
}

// appendLine appends the JSON object of one line. It says what encoding/json would, for a fraction of the time: a line is
// made on the way of each delivery.
func appendLine(b []byte, e *store.Event) []byte {
	b = append(b, `{"time":"`...)
	b = e.Time.UTC().AppendFormat(b, stamp)
	b = append(append(append(b, `","event":"`...), e.Kind...), '"')
	if len(e.Messages) > 0 {
		b = append(b, `,"msgs":[`...)
		for i, id := range e.Messages {
			b = appendID(comma(b, i), id)
		}
		b = append(b, ']')
	}
	if !e.Was.IsZero() {
		b = appendID(append(b, `,"was":`...), e.Was)
	}
	b = appendText(b, `,"sid":`, e.Session, maxWord)
	b = appendText(b, `,"remote":`, e.Remote, maxWord)
	b = appendText(b, `,"from":`, e.From, store.MaxPath)
	b = appendList(b, `,"to":[`, e.To)
	b = appendList(b, `,"accounts":[`, e.Accounts)
	b = appendNumber(b, `,"octets":`, e.Octets)
	b = appendText(b, `,"message_id":`, e.MessageID, store.MaxMessageID)
	b = appendText(b, `,"verb":`, e.Verb, maxWord)
	b = appendNumber(b, `,"code":`, int64(e.Code))
	b = appendText(b, `,"reason":`, e.Reason, maxWord)
	b = appendNumber(b, `,"count":`, e.Count)
	if !e.First.IsZero() {
		b = append(e.First.UTC().AppendFormat(append(b, `,"first":"`...), stamp), '"')
	}
	return append(b, '}')
}

func comma(b []byte, i int) []byte {
	if i == 0 {
		return b
	}
	return append(b, ',')
}

func appendID(b []byte, id store.ID) []byte { return append(id.Append(append(b, '"')), '"') }

func appendText(b []byte, name, text string, most int) []byte {
	if text == "" {
		return b
	}
	return appendQuoted(append(b, name...), text, most)
}

func appendList(b []byte, name string, list []string) []byte {
	if len(list) == 0 {
		return b
	}
	b = append(b, name...)
	for i, text := range list {
		b = appendQuoted(comma(b, i), text, store.MaxPath)
	}
	return append(b, ']')
}

func appendNumber(b []byte, name string, n int64) []byte {
	if n == 0 {
		return b
	}
	return strconv.AppendInt(append(b, name...), n, 10)
}

// appendQuoted appends a text as a JSON string of at most so many octets between the quotes and beside escapes. What can't be
// printed becomes a question mark.
func appendQuoted(b []byte, text string, most int) []byte {
	b = append(b, '"')
	for i := 0; i < len(text); {
		c := text[i]
		if c >= utf8.RuneSelf {
			r, size := utf8.DecodeRuneInString(text[i:])
			if i+size > most {
				break
			}
			if r == utf8.RuneError || !unicode.IsPrint(r) {
				b = append(b, '?')
			} else {
				b = utf8.AppendRune(b, r)
			}
			i += size
			continue
		}
		if i == most {
			break
		}
		switch {
		case c == '"' || c == '\\':
			b = append(b, '\\', c)
		case c < ' ' || c == 0x7f:
			b = append(b, '?')
		default:
			b = append(b, c)
		}
		i++
	}
	return append(b, '"')
}

// decodeLine reads what appendLine wrote. It fails for anything else that is no event.
func decodeLine(line []byte) (e store.Event, ok bool) {
	if len(line) > maxLine || json.Unmarshal(line, &e) != nil || e.Kind == "" || e.Time.IsZero() {
		return store.Event{}, false
	}
	return e, true
}

// canonical is the form in which addresses are kept and looked for; what is none stays as it is.
func canonical(path string) string {
	a, err := store.ParseAddress(path)
	n := len(a.Local)
	if err != nil || len(path) == n+1+len(a.Domain) && path[:n] == a.Local && path[n+1:] == a.Domain {
		return path
	}
	return a.String()
}

// canonicals is canonical for a list, which it leaves alone.
func canonicals(paths []string) []string {
	for i, path := range paths {
		if c := canonical(path); c != path {
			changed := slices.Clone(paths)
			for j := i; j < len(paths); j++ {
				changed[j] = canonical(paths[j])
			}
			return changed
		}
	}
	return paths
}

// reversePath is the form in which a reverse-path is kept.
func reversePath(from string) string {
	if from == "" {
		return nullPath
	}
	return canonical(from)
}

// day is the name of a time's day.
func day(t time.Time) string { return t.UTC().Format(time.DateOnly) }
