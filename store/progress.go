package store

import "context"

// Progress is told how far a call is that takes long: so much of total is done, both in a unit of the call's own. It is called
// from one goroutine at a time, often, and should return at once. done never goes down; total may be a guess that is corrected.
type Progress func(done, total int64)

type progressKey struct{}

// WithProgress returns a context with which Verify and Undelete tell p how far they are: Verify in octets of the log, Undelete
// in messages. An Admin that does not know how tells nothing.
func WithProgress(ctx context.Context, p Progress) context.Context {
	return context.WithValue(ctx, progressKey{}, p)
}

// ProgressOf returns what WithProgress put into ctx, never nil; asked tells whether that is anything.
func ProgressOf(ctx context.Context) (p Progress, asked bool) {
	if p, ok := ctx.Value(progressKey{}).(Progress); ok {
		return p, true
	}
	return func(int64, int64) {}, false
}
