package pop3d

import (
	"bytes"
	"strconv"
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
	verb   string
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
	table := map[string]command{
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
	for verb, c := range table {
		c.verb = verb
		table[verb] = c
	}
	return table
}

// request is a command's arguments, checked for their shape and copied out of the buffer.
type request struct {
	words []string
	rest  string
	// numbers holds one or two of them, as count says; none where perhapsNumber had none.
	numbers [2]int64
	count   int
}

// find returns the row of the table that a line asks for, whatever the case of its verb, and what follows the first space.
func (s *Server) find(line []byte) (c command, argument []byte, known bool) {
	word, argument, _ := bytes.Cut(line, []byte(" "))
	var verb [len("CAPA")]byte
	if len(word) > len(verb) {
		return command{}, argument, false
	}
	for i, b := range word {
		if 'a' <= b && b <= 'z' {
			b -= 'a' - 'A'
		}
		verb[i] = b
	}
	c, known = s.commands[string(verb[:len(word)])]
	return c, argument, known
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
	var fields [3][]byte // the third shows that there are too many
	n := 0
	for left := bytes.Trim(argument, " "); len(left) > 0 && n < len(fields); n++ {
		fields[n], left, _ = bytes.Cut(left, []byte(" "))
		left = bytes.TrimLeft(left, " ")
	}
	least, most := s.count()
	switch {
	case n < least:
		return q, "an argument is missing"
	case n > most:
		return q, "there is an argument too many"
	}
	for _, field := range fields[:n] {
		if s == words || s == oneWord || s == perhapsWord {
			q.words = append(q.words, string(field))
			continue
		}
		var ok bool
		if q.numbers[q.count], ok = parseNumber(string(field)); !ok {
			return q, "an argument is not a number"
		}
		q.count++
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
