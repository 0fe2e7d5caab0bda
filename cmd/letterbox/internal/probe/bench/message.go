package bench

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"hash/crc32"
	"io"
	"math"
	"math/rand/v2"
	"strconv"
	"time"
)

// lineOctets is the length of each line of a body, its CRLF included.
const lineOctets = 76

// poolLines is how many different lines there are: 4 MiB of them, cut anywhere and put together again.
const poolLines = 55_000

// corpus makes the messages of a run. Each says in a field of its header what its body is, so that whoever drains it can
// tell whether it came out as it went in.
type corpus struct {
	run   string // unique, so that messages of two runs are told apart
	from  string
	pool  []byte
	table *crc32.Table
	date  string
}

// newCorpus makes the lines that all bodies consist of: always the same. One in 40 begins with a dot.
func newCorpus(run, from string, now time.Time) *corpus {
	const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
	random := rand.New(rand.NewPCG(42, 451))
	pool := make([]byte, 0, poolLines*lineOctets)
	for n := range poolLines {
		start := len(pool)
		for bits := uint64(0); len(pool) < start+lineOctets-2; bits >>= 6 {
			if bits == 0 {
				bits = random.Uint64()
			}
			pool = append(pool, letters[bits&63])
		}
		if n%40 == 0 {
			pool[start] = '.'
		}
		pool = append(pool, "\r\n"...)
	}
	return &corpus{run: run, from: from, pool: pool, table: crc32.MakeTable(crc32.Castagnoli), date: now.Format(time.RFC1123Z)}
}

// message is one message, ready to be sent.
type message struct {
	parts  [][]byte // the header, and pieces of the pool: behind its end it begins again
	octets int64
}

// message makes message n for the forward-path to, of about the given size: its header, and as many whole lines as fit.
func (c *corpus) message(n, size int, to string) *message {
	lines := max((size-400)/lineOctets, 1)
	start := int(scatter(uint64(n)) % poolLines)
	octets, sum := lines*lineOctets, uint32(0)
	m := &message{parts: make([][]byte, 1, 3)}
	for lines > 0 {
		piece := c.pool[start*lineOctets : min(start+lines, poolLines)*lineOctets]
		m.parts, sum = append(m.parts, piece), crc32.Update(sum, c.table, piece)
		start, lines = 0, lines-len(piece)/lineOctets
	}
	m.parts[0] = fmt.Appendf(nil, "From: <%s>\r\nTo: <%s>\r\nSubject: message %d of bench %s\r\nDate: %s\r\nMessage-ID: <%s.%d@bench.invalid>\r\n"+
		"%s: %s-%d %08x %d\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=us-ascii\r\n\r\n",
		c.from, to, n, c.run, c.date, c.run, n, sumField, c.run, n, sum, octets)
	m.octets = int64(len(m.parts[0]) + octets)
	return m
}

// WriteTo writes the message, lines ended by CRLF and without stuffing.
func (m *message) WriteTo(w io.Writer) (int64, error) {
	written := int64(0)
	for _, part := range m.parts {
		n, err := w.Write(part)
		written += int64(n)
		if err != nil {
			return written, err
		}
	}
	return written, nil
}

// scatter makes unrelated numbers of neighbours.
func scatter(n uint64) uint64 { return rand.New(rand.NewPCG(n, 7)).Uint64() }

// mixedSize is the size of message n of a mix as people's mailboxes have it: half up to 8 KiB, nine in ten up to 75 KiB, one in
// a hundred over 2 MiB, none over 4 MiB; 97 KiB on average.
func mixedSize(n int) int {
	share := float64(scatter(uint64(n)+1<<40)>>11) / (1 << 53)
	shares := []float64{0, 0.5, 0.9, 0.99, 1}
	sizes := []float64{1 << 10, 8 << 10, 75 << 10, 2 << 20, 4 << 20}
	i := 1
	for share > shares[i] {
		i++
	}
	part := (share - shares[i-1]) / (shares[i] - shares[i-1])
	return int(sizes[i-1] * math.Pow(sizes[i]/sizes[i-1], part))
}

// sumField is the header field that says what the body is: id, CRC-32C and octets.
const sumField = "X-Bench-Sum"

// maxHead bounds the header that a checker looks through for its field.
const maxHead = 16 << 10

// checker is where one message is drained to. It tells whether the body is the one that was sent.
type checker struct {
	table *crc32.Table
	head  []byte // until it is over
	body  bool   // the header is over
	sum   uint32
	n     int64
	id    string
	want  string // sum and octets, as the field has them
}

func newChecker() *checker { return &checker{table: crc32.MakeTable(crc32.Castagnoli)} }

func (c *checker) reset() { c.head, c.body, c.sum, c.n, c.id, c.want = c.head[:0], false, 0, 0, "", "" }

func (c *checker) Write(b []byte) (int, error) {
	whole := len(b)
	if !c.body {
		from := max(len(c.head)-3, 0)
		c.head = append(c.head, b...)
		end := bytes.Index(c.head[from:], []byte("\r\n\r\n"))
		if end < 0 {
			c.body = len(c.head) > maxHead // no field in so long a header: what comes counts as body
			return whole, nil
		}
		end += from + 4
		c.body, b = true, c.head[end:]
		c.field(c.head[:end])
	}
	c.sum = crc32.Update(c.sum, c.table, b)
	c.n += int64(len(b))
	return whole, nil
}

// field finds our field in the header.
func (c *checker) field(head []byte) {
	_, rest, found := bytes.Cut(head, []byte("\r\n"+sumField+": "))
	if line, _, whole := bytes.Cut(rest, []byte("\r\n")); found && whole && len(line) < 200 {
		id, want, _ := bytes.Cut(line, []byte(" "))
		c.id, c.want = string(id), string(want)
	}
}

// known tells whether the message is one of ours.
func (c *checker) known() bool { return c.id != "" }

// intact tells whether the body is what was sent.
func (c *checker) intact() bool {
	sum, octets, _ := bytes.Cut([]byte(c.want), []byte(" "))
	want, err := hex.DecodeString(string(sum))
	if err != nil || len(want) != 4 {
		return false
	}
	n, err := strconv.ParseInt(string(octets), 10, 64)
	return err == nil && n == c.n && fmt.Sprintf("%08x", c.sum) == string(sum)
}
