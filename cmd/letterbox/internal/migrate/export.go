package migrate

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"example.org/letterbox/store"
)

// ExportMaildir copies all mail that waits for an account into the maildir at path, which is made where it is not there. File
// names are made of the messages' ids, so that a second run finds what the first one wrote, in new and in cur. When the error
// is nil, all of it is on disk.
func ExportMaildir(ctx context.Context, st Store, from, path string, watch Watch) (result Result, err error) {
	mail, err := st.Mail(ctx, from)
	if err != nil {
		return result, err
	}
	there, err := prepareMaildir(path)
	if err != nil {
		return result, access(path, err)
	}
	for i, m := range mail {
		if err := ctx.Err(); err != nil {
			return result, err
		}
		name := maildirName(m)
		if there[name] {
			result.There++
		} else if err := exportFile(ctx, st, from, path, name, m); gone(err) {
			result.Failed++
			watch.note("%s: not moved: %s", m.UIDL(), err)
		} else if err != nil {
			return result, stopped(ctx, access(path, err))
		} else {
			result.Moved++
		}
		watch.progress(i+1, len(mail))
	}
	return result, syncFolder(filepath.Join(path, "new"))
}

// stopped is err, or that the operator stopped it where that is why.
func stopped(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}

// maildirName is the file's name: the time of arrival, the id, and a host's name.
func maildirName(m store.Message) string {
	return fmt.Sprintf("%d.%s.letterbox", m.ID.Time().Unix(), m.ID)
}

// gone tells whether an error is about one message alone.
func gone(err error) bool {
	refused := (*store.EditError)(nil)
	return errors.As(err, &refused) || errors.Is(err, store.ErrCorrupt)
}

// prepareMaildir makes the folders and returns the base names of the files in them.
func prepareMaildir(path string) (map[string]bool, error) {
	there := map[string]bool{}
	for _, sub := range []string{"tmp", "new", "cur"} {
		dir := filepath.Join(path, sub)
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, err
		}
		if sub == "tmp" {
			continue
		}
		entries, err := os.ReadDir(dir)
		if err != nil {
			return nil, err
		}
		for _, e := range entries {
			there[baseName(e.Name())] = true
		}
	}
	return there, syncFolder(path)
}

// exportFile writes one message: whole and on disk in tmp, and then by one rename into new.
func exportFile(ctx context.Context, st Store, from, path, name string, m store.Message) error {
	tmp := filepath.Join(path, "tmp", name)
	f, err := createUnfinished(tmp)
	if err != nil {
		return err
	}
	w := bufio.NewWriterSize(f, lineBuffer)
	unix := &unixLines{w: w}
	err = st.Copy(ctx, from, m.ID, unix)
	unix.end()
	if err == nil {
		err = errors.Join(w.Flush(), syncUnfinished(f))
	}
	if err = errors.Join(err, f.Close()); err == nil {
		at := m.ID.Time()
		err = os.Chtimes(tmp, at, at) // Dovecot takes it for the time of arrival
	}
	if err != nil {
		return dropUnfinished(tmp, err)
	}
	return os.Rename(tmp, filepath.Join(path, "new", name))
}

// syncFolder makes the names in a folder durable.
func syncFolder(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// ExportMbox writes all mail that waits for an account to a new mbox at path (mboxrd). The file is there once it is whole and on
// disk; until then it is written beside, with the ending .part. What another run left there is written anew.
func ExportMbox(ctx context.Context, st Store, from, path string, watch Watch) (result Result, err error) {
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		if err == nil {
			err = fmt.Errorf("%s is there already: name a new file", path)
		}
		return result, access(path, err)
	}
	mail, err := st.Mail(ctx, from)
	if err != nil {
		return result, err
	}
	part := path + ".part"
	f, err := createUnfinished(part)
	if err != nil {
		return result, access(path, err)
	}
	sp := newSpool()
	defer sp.close()
	w := bufio.NewWriterSize(f, lineBuffer)
	for i, m := range mail {
		sp.reset()
		err := st.Copy(ctx, from, m.ID, sp)
		if gone(err) {
			result.Failed++
			watch.note("%s: not moved: %s", m.UIDL(), err)
			continue
		}
		if err == nil {
			err = writeMbox(w, sp, m.ID.Time())
		}
		if err != nil {
			f.Close()
			return Result{}, stopped(ctx, dropUnfinished(part, fmt.Errorf("message %s: %w", m.UIDL(), err)))
		}
		result.Moved++
		watch.progress(i+1, len(mail))
	}
	if err := errors.Join(w.Flush(), syncUnfinished(f), f.Close()); err != nil {
		return Result{}, dropUnfinished(part, err)
	}
	if err := os.Rename(part, path); err != nil {
		return Result{}, err
	}
	return result, syncFolder(filepath.Dir(path))
}

// writeMbox writes the spooled message: the separator, the message with each line that is `From ` behind any number of > one >
// longer, and an empty line.
func writeMbox(w *bufio.Writer, sp *spool, arrived time.Time) error {
	fmt.Fprintf(w, "From MAILER-DAEMON %s\n", arrived.UTC().Format(time.ANSIC))
	quoted := &fromLines{w: w, more: 1}
	unix := &unixLines{w: quoted}
	if _, err := io.Copy(unix, sp.reader()); err != nil {
		return err
	}
	unix.end()
	quoted.end()
	_, err := w.WriteString("\n")
	return err
}

// unixLines writes canonical octets with the line ends of Unix. Errors are kept by the bufio.Writer below.
type unixLines struct {
	w  io.ByteWriter
	cr bool // a CR is not written yet
}

func (u *unixLines) Write(b []byte) (int, error) {
	for _, c := range b {
		if u.cr && c != '\n' {
			u.w.WriteByte('\r')
		}
		if u.cr = c == '\r'; !u.cr {
			u.w.WriteByte(c)
		}
	}
	return len(b), nil
}

// end writes what is held.
func (u *unixLines) end() {
	if u.cr {
		u.w.WriteByte('\r')
	}
}
