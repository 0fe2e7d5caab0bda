package migrate

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"example.org/letterbox/store"
)

// known is what a POP3 server keeps about the files of a maildir.
type known struct {
	uidl map[string]string // by base name
	rank map[string]int64  // the place in the server's order, by base name
}

func newKnown() *known { return &known{uidl: map[string]string{}, rank: map[string]int64{}} }

// maxListLine bounds a line of such a file, in octets: a file name has 255 at most.
const maxListLine = 4 << 10

// add notes a file. Of two with the same name the last counts, as in the servers.
func (k *known) add(name, uidl string, rank int64) {
	base := baseName(name)
	if base == "" {
		return
	}
	if store.IsUIDL(uidl) {
		k.uidl[base] = uidl
	} else {
		delete(k.uidl, base)
	}
	k.rank[base] = rank
}

// baseName is a maildir's file name without its flags.
func baseName(name string) string {
	base, _, _ := strings.Cut(name, ":")
	return base
}

// unordered stands before the ranks of messages that have no place of their own in Dovecot's POP3 order: they come behind.
const unordered = 1 << 31

// readUIDList reads a dovecot-uidlist of version 3 or 1. UIDLs are what Dovecot's default, `pop3_uidl_format = %08Xu%08Xv`,
// makes of UID and UIDVALIDITY, unless a record has its own (P).
func readUIDList(r io.Reader) (*known, error) {
	lines := bufio.NewScanner(r)
	lines.Buffer(make([]byte, 0, maxListLine), maxListLine)
	if !lines.Scan() {
		if lines.Err() != nil {
			return nil, lines.Err()
		}
		return nil, errors.New("it is empty")
	}
	version, validity, err := uidListHeader(lines.Text())
	if err != nil {
		return nil, err
	}
	k := newKnown()
	for lines.Scan() {
		number, rest, _ := strings.Cut(lines.Text(), " ")
		uid, err := strconv.ParseUint(number, 10, 32)
		if err != nil || uid == 0 {
			return nil, fmt.Errorf("the line %.80q does not begin with a UID", lines.Text())
		}
		name, uidl, rank := rest, fmt.Sprintf("%08x%08x", uid, validity), unordered+int64(uid)
		if version == 3 {
			name, uidl, rank = uidListRecord(rest, uidl, rank)
		}
		k.add(name, uidl, rank)
	}
	return k, lines.Err()
}

// uidListHeader reads `3 V<uidvalidity> N<next uid> …` or `1 <uidvalidity> <next uid>`.
func uidListHeader(line string) (version int, validity uint64, err error) {
	fields := strings.Fields(line)
	switch {
	case len(fields) > 1 && fields[0] == "1":
		validity, err = strconv.ParseUint(fields[1], 10, 32)
		return 1, validity, err
	case len(fields) > 1 && fields[0] == "3":
		for _, f := range fields[1:] {
			if value, ok := strings.CutPrefix(f, "V"); ok {
				validity, err = strconv.ParseUint(value, 10, 32)
				return 3, validity, err
			}
		}
	}
	return 0, 0, fmt.Errorf("its first line %.80q is none of version 1 or 3", line)
}

// uidListRecord reads what stands behind a UID in version 3: `[K<value> ]*:<file name>`. P is the message's own UIDL, its base
// name where it has no value; O is its place in POP3's order.
func uidListRecord(s, uidl string, rank int64) (string, string, int64) {
	own := false
	for s != "" && s[0] != ':' {
		var field string
		field, s, _ = strings.Cut(s, " ")
		switch {
		case field == "":
		case field[0] == 'P':
			own, uidl = true, field[1:]
		case field[0] == 'O':
			if n, err := strconv.ParseUint(field[1:], 10, 31); err == nil {
				rank = int64(n)
			}
		}
	}
	name := strings.TrimPrefix(s, ":")
	if own && uidl == "" {
		uidl = baseName(name)
	}
	return name, uidl, rank
}

// readSizeList reads Courier's courierpop3dsizelist: a first line `/2 <next uid> <uidvalidity>` or `/3 …`, then lines
// `<file name> <size> <uid>:<uidvalidity>[:<utf-8>]`. A UID of 0 means that the UIDL is the file's name.
func readSizeList(r io.Reader) (*known, error) {
	lines := bufio.NewScanner(r)
	lines.Buffer(make([]byte, 0, maxListLine), maxListLine)
	lines.Scan()
	if !strings.HasPrefix(lines.Text(), "/2 ") && !strings.HasPrefix(lines.Text(), "/3 ") {
		return nil, errors.Join(fmt.Errorf("its first line %.80q is none of version 2 or 3", lines.Text()), lines.Err())
	}
	k := newKnown()
	for lines.Scan() {
		rest, ids, ok := cutLast(lines.Text())
		name, _, ok2 := cutLast(rest)
		first, second, ok3 := strings.Cut(ids, ":")
		second, _, _ = strings.Cut(second, ":")
		uid, err := strconv.ParseUint(first, 10, 64)
		validity, err2 := strconv.ParseUint(second, 10, 64)
		if !ok || !ok2 || !ok3 || err != nil || err2 != nil {
			return nil, fmt.Errorf("the line %.80q is no record", lines.Text())
		}
		k.add(name, courierUIDL(baseName(name), uid, validity), 0)
	}
	return k, lines.Err()
}

// courierUIDL is what Courier's POP3 server says for such a record.
func courierUIDL(base string, uid, validity uint64) string {
	switch {
	case uid != 0 && validity != 0:
		return fmt.Sprintf("UID%d-%d", uid, validity)
	case uid != 0:
		return fmt.Sprintf("UID%d", uid)
	}
	var b strings.Builder
	for _, c := range []byte(base) {
		if c < 0x21 || c > 0x7E || strings.IndexByte(`'"+`, c) >= 0 {
			fmt.Fprintf(&b, "+%02X", c)
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}

func cutLast(s string) (before, after string, found bool) {
	i := strings.LastIndexByte(s, ' ')
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+1:], true
}
