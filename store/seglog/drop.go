package seglog

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"example.org/letterbox/store/vfs"
)

// droppedFile lists the segments that were given up, so that one that is missing for another reason is found.
const droppedFile = "dropped"

// ranges is a set of segment numbers as ascending, disjoint spans.
type ranges [][2]uint64

func (r ranges) has(n uint64) bool {
	return slices.ContainsFunc(r, func(s [2]uint64) bool { return s[0] <= n && n <= s[1] })
}

// beyond tells whether n or a larger number is in the set.
func (r ranges) beyond(n uint64) bool { return len(r) > 0 && r[len(r)-1][1] >= n }

// with returns the set with n in it.
func (r ranges) with(n uint64) ranges {
	if r.has(n) {
		return r
	}
	all := append(slices.Clone(r), [2]uint64{n, n})
	slices.SortFunc(all, func(a, b [2]uint64) int { return int(int64(a[0] - b[0])) })
	merged := all[:1]
	for _, s := range all[1:] {
		if last := &merged[len(merged)-1]; last[1]+1 == s[0] {
			last[1] = s[1]
		} else {
			merged = append(merged, s)
		}
	}
	return merged
}

func (r ranges) String() string {
	parts := make([]string, len(r))
	for i, s := range r {
		parts[i] = fmt.Sprintf("%d-%d", s[0], s[1])
	}
	return strings.Join(parts, " ")
}

func parseRanges(text string) (ranges, error) {
	var r ranges
	for _, part := range strings.Fields(text) {
		first, last, _ := strings.Cut(part, "-")
		a, errA := strconv.ParseUint(first, 10, 64)
		b, errB := strconv.ParseUint(last, 10, 64)
		if errA != nil || errB != nil || a > b || len(r) > 0 && r[len(r)-1][1] >= a {
			return nil, errors.New("its ranges can't be read")
		}
		r = append(r, [2]uint64{a, b})
	}
	return r, nil
}

// loadDropped reads the list. A log that never dropped a segment has none.
func (l *Log) loadDropped() (ranges, error) {
	name := filepath.Join(l.dir, droppedFile)
	f, err := l.opt.FS.OpenFile(name, os.O_RDONLY, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close() //nolint:errcheck // it is read only
	size, err := f.Size()
	if err != nil {
		return nil, err
	}
	buf := make([]byte, size)
	if _, err := f.ReadAt(buf, 0); err != nil {
		return nil, err
	}
	text, sealText, _ := strings.Cut(strings.TrimSuffix(string(buf), "\n"), "\n")
	if seal := l.seal.seal([]byte(droppedFile), []byte(text)); sealText != hex.EncodeToString(seal) {
		return nil, fmt.Errorf("%s is damaged", name)
	}
	r, err := parseRanges(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return r, nil
}

// saveDropped makes the list durable, whole or not at all.
func (l *Log) saveDropped(r ranges) error {
	seal, err := l.sealer()
	if err != nil {
		return err
	}
	text := r.String()
	text += "\n" + hex.EncodeToString(seal.seal([]byte(droppedFile), []byte(text))) + "\n"
	l.seals.Put(seal)
	return vfs.WriteFile(l.opt.FS, filepath.Join(l.dir, droppedFile), []byte(text))
}

// Drop gives up a sealed segment: its number goes on the list, then the file goes. Readers that hold it go on; Read of a
// place in it fails with fs.ErrNotExist. The caller sees to it that nothing of it is needed any more, and that it is not
// called twice at once.
func (l *Log) Drop(number uint64) error {
	l.files.mu.Lock()
	have, head := l.files.have[number], l.files.head
	l.files.mu.Unlock()
	if !have || number >= head {
		return fmt.Errorf("segment %d is not sealed", number)
	}
	var size int64
	if seg, err := l.files.acquire(number); err == nil {
		size, _ = seg.file.Size()
		l.files.release(seg)
	}
	dropped := l.dropped.with(number)
	if err := l.saveDropped(dropped); err != nil {
		return err
	}
	l.dropped = dropped
	l.files.forget(number)
	if err := l.opt.FS.Remove(segmentName(l.dir, number)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	l.stats.bytes.Add(-size)
	return l.opt.FS.SyncDir(l.dir)
}

// finishDrops removes segments that a crash kept from being removed, and names the first that is missing without being
// on the list.
func (l *Log) finishDrops(numbers []uint64) (left []uint64, err error) {
	if l.dropped, err = l.loadDropped(); err != nil {
		return nil, err
	}
	next := uint64(1)
	for _, n := range numbers {
		for ; next < n; next++ {
			if !l.dropped.has(next) {
				return nil, &Corrupt{Pos: Pos{Segment: next}, Reason: "the segment is missing"}
			}
		}
		next = n + 1
		if !l.dropped.has(n) {
			left = append(left, n)
			continue
		}
		if err := l.opt.FS.Remove(segmentName(l.dir, n)); err != nil {
			return nil, err
		}
	}
	if len(left) == 0 && len(l.dropped) > 0 {
		return nil, &Corrupt{Pos: Pos{Segment: next}, Reason: "the segment is missing"}
	}
	return left, nil
}
