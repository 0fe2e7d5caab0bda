package bench

import (
	"context"
	"errors"
	"fmt"
	"time"

	"example.org/letterbox/cmd/letterbox/internal/probe"
)

// Retrieve says where and how messages that were accepted can be looked for.
type Retrieve struct {
	Target   string        // of POP3, in clear; empty: nobody looks
	Password string        // of each user
	Wait     time.Duration // how long after the last message was accepted
	Timeout  time.Duration // of each command
}

// count logs in to every user's maildrop, and returns how many messages wait in all of them.
func (r Retrieve) count(ctx context.Context, users Users) (messages int, err error) {
	if r.Target == "" {
		return 0, nil
	}
	for i := range users.N {
		n, err := r.one(ctx, users.Name(i))
		if err != nil {
			return 0, err
		}
		messages += n
	}
	return messages, nil
}

func (r Retrieve) one(ctx context.Context, user string) (int, error) {
	c, err := probe.DialPOP3(ctx, probe.Options{Target: r.Target, Timeout: r.Timeout})
	if err != nil {
		return 0, err
	}
	defer c.Close()
	if err := c.Login(user, r.Password); err != nil {
		return 0, err
	}
	n, _, err := c.Stat()
	if err != nil {
		return 0, err
	}
	return n, c.Quit()
}

// until waits for all maildrops together to have want messages, and notes when that was, or that it never was.
func (r *Result) until(ctx context.Context, w *work, where Retrieve, want int) {
	ctx, cancel := context.WithTimeout(ctx, where.Wait)
	defer cancel()
	for {
		n, err := where.count(ctx, w.Users)
		if n >= want {
			r.Retrievable = since(w.began)
			r.RetrievableRate = rate(float64(r.Done), r.Retrievable)
			return
		}
		if ctx.Err() != nil {
			r.Errors["not retrievable"] = &Failure{Count: int64(want - n), Example: fmt.Sprintf("%d of %d could be retrieved in time", n, want)}
			return
		}
		if err != nil && !errors.Is(err, context.DeadlineExceeded) && kind(err) == "refused" {
			r.Errors["refused"] = &Failure{Count: 1, Example: err.Error()}
			return
		}
		select {
		case <-ctx.Done():
		case <-time.After(20 * time.Millisecond):
		}
	}
}
