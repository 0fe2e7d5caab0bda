package seglog

import "example.org/letterbox/store/vfs"

// forerun is how far in front of who reads a segment the system is told to read it: so many octets are asked of the disk at a time.
const forerun = 4 * vfs.AheadStep

// forerunner has the system read a segment that somebody reads in order, from a goroutine of its own: telling takes about as long as reading
// what has come. A replay that found its pages cold waited for the disk half of the time by the system's own reading ahead alone.
type forerunner struct {
	told, end int64
	tell      chan int64
	done      chan struct{}
}

// newForerunner begins at an offset; stop must follow.
func newForerunner(file vfs.File, from, end int64) *forerunner {
	f := &forerunner{told: from, end: end, tell: make(chan int64, forerun/vfs.AheadStep), done: make(chan struct{})}
	go func() {
		defer close(f.done)
		for off := range f.tell {
			vfs.WillNeed(file, off, min(vfs.AheadStep, end-off))
		}
	}()
	return f
}

// reached notes that what stands at off is read next. A nil forerunner does nothing.
func (f *forerunner) reached(off int64) {
	if f == nil {
		return
	}
	if f.told < off { // a large body was left out
		f.told = off
	}
	for f.told < min(off+forerun, f.end) {
		select {
		case f.tell <- f.told:
			f.told += vfs.AheadStep
		default: // it has enough to do
			return
		}
	}
}

// stop returns when the file is not used any more.
func (f *forerunner) stop() {
	close(f.tell)
	<-f.done
}
