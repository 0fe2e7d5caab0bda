package migrate

import (
	"bytes"
	"crypto/sha256"
	"hash"
	"io"
	"os"
)

// spoolMemory bounds what of a message is held in memory, in octets. A larger one lies in a temporary file meanwhile.
const spoolMemory = 1 << 20

// spool takes one message after the other in any line ends and holds it in canonical form: every CRLF, CR and LF is a line
// end, CRLF, and the last line has one.
type spool struct {
	mem    bytes.Buffer
	file   *os.File // nil until a message does not fit into mem
	inFile int64    // octets of the message that are in file
	octets int64
	sum    hash.Hash // SHA-256 of these
	cr     bool      // the last octet taken was a CR
	open   bool      // the last line has no end
}

func newSpool() *spool { return &spool{sum: sha256.New()} }

// reset makes room for the next message.
func (s *spool) reset() {
	s.mem.Reset()
	s.sum.Reset()
	s.inFile, s.octets, s.cr, s.open = 0, 0, false, false
}

// Write fails with *fatalError alone: when the temporary file can't be written.
func (s *spool) Write(b []byte) (int, error) {
	whole := len(b)
	for len(b) > 0 {
		n := bytes.IndexAny(b, "\r\n")
		if n != 0 {
			if n < 0 {
				n = len(b)
			}
			s.open, s.cr = true, false
			if err := s.put(b[:n]); err != nil {
				return 0, err
			}
			b = b[n:]
			continue
		}
		if b[0] == '\r' || !s.cr {
			if err := s.lineEnd(); err != nil {
				return 0, err
			}
		}
		s.cr = b[0] == '\r'
		b = b[1:]
	}
	return whole, nil
}

func (s *spool) lineEnd() error {
	s.open = false
	return s.put([]byte("\r\n"))
}

// end completes the message.
func (s *spool) end() error {
	if s.open {
		return s.lineEnd()
	}
	return nil
}

func (s *spool) put(b []byte) error {
	s.octets += int64(len(b))
	s.sum.Write(b)
	for len(b) > 0 {
		n := min(len(b), spoolMemory-s.mem.Len())
		s.mem.Write(b[:n])
		if b = b[n:]; len(b) > 0 {
			if err := s.flush(); err != nil {
				return &fatalError{err}
			}
		}
	}
	return nil
}

// flush moves what is in memory to the file.
func (s *spool) flush() error {
	if s.file == nil {
		f, err := os.CreateTemp("", "letterbox-import-")
		if err != nil {
			return err
		}
		os.Remove(f.Name()) // it lives as long as it is open
		s.file = f
	}
	if _, err := s.file.WriteAt(s.mem.Bytes(), s.inFile); err != nil {
		return err
	}
	s.inFile += int64(s.mem.Len())
	s.mem.Reset()
	return nil
}

// reader returns the message from its start.
func (s *spool) reader() io.Reader {
	rest := bytes.NewReader(s.mem.Bytes())
	if s.inFile == 0 {
		return rest
	}
	return io.MultiReader(io.NewSectionReader(s.file, 0, s.inFile), rest)
}

func (s *spool) digest() [sha256.Size]byte { return [sha256.Size]byte(s.sum.Sum(nil)) }

func (s *spool) close() {
	if s.file != nil {
		s.file.Close()
	}
}
