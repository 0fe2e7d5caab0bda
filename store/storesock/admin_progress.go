package storesock

import (
	"context"
	"encoding/binary"
	"time"

	"example.org/letterbox/store"
)

// An owner whose hello says so tells how far Verify and Undelete are, in front of its answer to a request that asks for it: in
// stream frames of two numbers of 8 octets each, what is done and the total. To ask an older one would be an error.

// progressEvery is the time between two of them at least.
const progressEvery = 100 * time.Millisecond

const progressSize = 16

// maxUnread is what a client may have left unread, in octets of the kernel's memory, and still be told more. One whose terminal takes
// nothing keeps nobody waiting so, and there is room for its answer.
const maxUnread = 16 << 10

// asksProgress tells whether the caller wants to know, and the owner can say.
func (a *AdminClient) asksProgress(ctx context.Context) bool {
	_, asked := store.ProgressOf(ctx)
	return asked && a.tells
}

// progressReader hands what comes in stream frames to a store.Progress.
type progressReader struct{ tell store.Progress }

// Write takes the content of one frame.
func (p progressReader) Write(content []byte) (int, error) {
	if len(content) != progressSize {
		return 0, errFrame
	}
	p.tell(int64(binary.BigEndian.Uint64(content)), int64(binary.BigEndian.Uint64(content[8:])))
	return len(content), nil
}

// tellProgress returns a context whose progress goes to the client, if q asks for it.
func (c *wire) tellProgress(ctx context.Context, q *adminRequest) context.Context {
	if !q.Progress {
		return ctx
	}
	var last time.Time
	broken := false // the answer finds that out too
	return store.WithProgress(ctx, func(done, total int64) {
		now := time.Now()
		if broken || now.Sub(last) < progressEvery && done < total || unread(c.conn) > maxUnread {
			return
		}
		last = now
		var content [progressSize]byte
		binary.BigEndian.PutUint64(content[:], uint64(done))
		binary.BigEndian.PutUint64(content[8:], uint64(total))
		_, err := streamWriter{c}.Write(content[:])
		broken = err != nil
	})
}
