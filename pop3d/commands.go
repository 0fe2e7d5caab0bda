package pop3d

import (
	"bytes"
	"strconv"
	"strings"
)

// state is where a session stands (RFC 1939 section 3). UPDATE has no commands, so no value.
type state uint8

const (
	authorization state = 1 << iota
	transaction
	anyState = authorization | transaction
)

// shape says which arguments a command takes.
type shape uint8

const (
	noArgument    shape = iota
	oneWord             // a name
	words               // none to two: AUTH's mechanism and initial response
	perhapsWord         // [tag]
	rest                // all that follows one space, blanks and all
	oneNumber           // msg
	perhapsNumber       // [msg]
	twoNumbers          // msg n
)

// command is one row of the table.
type command struct {
	states state
	shape  shape
	// password: refused where a password may not be sent, before it is.
	password bool
	// secret: its line may hold a password and is wiped from the buffer as soon as it is parsed.
	secret bool
	run    func(*session, request) reply
}

// commandTable returns the commands by verb in upper case: RFC 1939 sections 4 to 7, RFC 2449 section 5, RFC 2595
// section 4, RFC 5034 section 4, and RFC 6856 sections 2 and 3.
func commandTable() map[string]command {
	return map[string]command{
		"CAPA": {states: anyState, shape: noArgument, run: (*session).capa},
		"LANG": {states: anyState, shape: perhapsWord, run: (*session).lang},
		"QUIT": {states: anyState, shape: noArgument, run: (*session).quit},

		"STLS": {states: authorization, shape: noArgument, run: (*session).stls},
		"UTF8": {states: authorization, shape: noArgument, run: (*session).utf8},
		"USER": {states: authorization, shape: oneWord, password: true, run: (*session).user},
		"PASS": {states: authorization, shape: rest, password: true, secret: true, run: (*session).pass},
		"AUTH": {states: authorization, shape: words, secret: true, run: (*session).auth},

		"STAT": {states: transaction, shape: noArgument, run: (*session).stat},
		"LIST": {states: transaction, shape: perhapsNumber, run: (*session).list},
		"UIDL": {states: transaction, shape: perhapsNumber, run: (*session).uidl},
		"RETR": {states: transaction, shape: oneNumber, run: (*session).retr},
		"TOP":  {states: transaction, shape: twoNumbers, run: (*session).top},
		"DELE": {states: transaction, shape: oneNumber, run: (*session).dele},
		"RSET": {states: transaction, shape: noArgument, run: (*session).rset},
		"NOOP": {states: transaction, shape: noArgument, run: (*session).noop},
	}
}

// request is a command's arguments, checked for their shape and copied out of the buffer.
type request struct {
	words []string
	rest  string
	// numbers holds one or two of them; none where perhapsNumber had none.
	numbers []int64
}

// split parts a line into its verb in upper case, empty when it can be none of ours, and what follows the first space.
func split(line []byte) (verb string, argument []byte) {
	word, argument, _ := bytes.Cut(line, []byte(" "))
	if len(word) > len("CAPA") {
		return "", argument
	}
	return string(bytes.ToUpper(word)), argument
}

// parse checks the argument against the shape. The text says what is wrong with it, and is empty when nothing is.
func (s shape) parse(argument []byte) (q request, wrong string) {
	if s == rest {
		if len(argument) == 0 {
			return q, "an argument is missing"
		}
		q.rest = string(argument)
		return q, ""
	}
	q.words = strings.FieldsFunc(string(argument), func(r rune) bool { return r == ' ' })
	least, most := s.count()
	switch {
	case len(q.words) < least:
		return q, "an argument is missing"
	case len(q.words) > most:
		return q, "there is an argument too many"
	case s == words || s == oneWord || s == perhapsWord:
		return q, ""
	}
	for _, word := range q.words {
		n, ok := parseNumber(word)
		if !ok {
			return q, "an argument is not a number"
		}
		q.numbers = append(q.numbers, n)
	}
	return q, ""
}

// count returns how many words a shape has, at least and at most.
func (s shape) count() (least, most int) {
	switch s {
	case oneWord, oneNumber:
		return 1, 1
	case perhapsNumber, perhapsWord:
		return 0, 1
	case words:
		return 0, 2
	case twoNumbers:
		return 2, 2
	}
	return 0, 0
}

// parseNumber reads digits alone: no sign, nothing before or behind, and nothing over 63 bit, or message 4294967297 would
// be message 1 somewhere.
func parseNumber(word string) (int64, bool) {
	n, err := strconv.ParseUint(word, 10, 63)
	return int64(n), err == nil
}
