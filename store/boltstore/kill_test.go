package boltstore

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"example.org/letterbox/store"
)

// killedDir names, in the environment of the process that is killed, the store that it works on.
const killedDir = "LETTERBOX_TEST_KILLED"

// TestKilledProcess is not a test but the process that TestKill kills: deliveries from four sides, drains, reclaim. It says
// on its output what it is about to do and what was acknowledged, a line with one write each.
func TestKilledProcess(t *testing.T) {
	dir := os.Getenv(killedDir)
	if dir == "" {
		return // TestKill starts it
	}
	s, err := Open(dir, Options{SegmentBytes: 128 << 10, BodyMemory: 64 << 10, reclaimInterval: time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	ts := &testStore{T: t, Store: s, drop: 1}
	for w := range 4 {
		go func() {
			rng := rand.New(rand.NewPCG(uint64(os.Getpid()), uint64(w)))
			for {
				n := rng.IntN(9000)
				d := ts.begin(pattern(n))
				fmt.Printf("sending %s %d\n", d.ID(), n)
				if d.Commit(context.Background(), ts.to()) == nil {
					fmt.Printf("sent %s 0\n", d.ID())
				}
			}
		}()
	}
	rng := rand.New(rand.NewPCG(uint64(os.Getpid()), 99))
	for {
		m := ts.pick()
		var marks []int
		var deleting, deleted bytes.Buffer
		for i, msg := range m.Messages() {
			if rng.IntN(3) > 0 {
				marks = append(marks, i)
				fmt.Fprintf(&deleting, "deleting %s 0\n", msg.ID)
				fmt.Fprintf(&deleted, "deleted %s 0\n", msg.ID)
			}
		}
		os.Stdout.Write(deleting.Bytes())
		if m.Commit(context.Background(), marks) == nil {
			os.Stdout.Write(deleted.Bytes())
		}
		m.Close()
	}
}

// killed is what is known of the messages of all runs.
type killed struct {
	size                    map[string]int
	sent, deleting, deleted map[string]bool
}

// run starts the process, kills it after a while and takes down what it said.
func (k *killed) run(t *testing.T, dir string, after time.Duration) {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^TestKilledProcess$")
	cmd.Env = append(os.Environ(), killedDir+"="+dir)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewReader(out)
	first := true
	for {
		line, err := lines.ReadString('\n')
		if err != nil { // a line that was cut off was not said
			break
		}
		if first { // it is at work
			first = false
			time.AfterFunc(after, func() { cmd.Process.Kill() })
		}
		k.note(t, line)
	}
	io.Copy(io.Discard, out)
	cmd.Wait()
	if first {
		t.Fatal("the process did not begin to work")
	}
}

func (k *killed) note(t *testing.T, line string) {
	var word, id string
	var n int
	if _, err := fmt.Sscan(line, &word, &id, &n); err != nil {
		t.Fatalf("the process said %q", line)
	}
	switch word {
	case "sending":
		k.size[id] = n
	case "sent":
		k.sent[id] = true
	case "deleting":
		k.deleting[id] = true
	case "deleted":
		k.deleted[id] = true
	default:
		t.Fatalf("the process said %q", line)
	}
}

// check opens the store and holds it against what is known.
func (k *killed) check(t *testing.T, dir string) {
	t.Helper()
	s, err := Open(dir, Options{SegmentBytes: 128 << 10, reclaimInterval: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	ts := &testStore{T: t, Store: s, drop: 1}
	m := ts.pick()
	here := map[string]bool{}
	for i, msg := range m.Messages() {
		id := msg.ID.String()
		size, known := k.size[id]
		if here[id] || !known || k.deleted[id] {
			t.Errorf("%s: twice %t, known %t, deleted %t", id, here[id], known, k.deleted[id])
		}
		here[id] = true
		if got, err := ts.read(m, i); err != nil || !bytes.Equal(got, pattern(size)) {
			t.Errorf("%s has %d octets, want %d; %v", id, len(got), size, err)
		}
	}
	for id := range k.sent {
		if !here[id] && !k.deleting[id] {
			t.Errorf("%s is lost", id)
		}
	}
	// Whatever was not acknowledged, its fate is known now.
	for id := range k.size {
		k.sent[id], k.deleted[id] = here[id], !here[id]
		k.deleting[id] = !here[id]
	}
	if found := ts.verify(); len(found) > 0 {
		t.Errorf("verify: %v", found)
	}
}

// TestKill kills a process at random moments under load of deliveries, drains and reclaim: nothing that was acknowledged is
// lost, doubled or torn, and no acknowledged deletion returns. 20 kills, 200 with LETTERBOX_LONG.
func TestKill(t *testing.T) {
	kills := 20
	if os.Getenv("LETTERBOX_LONG") != "" {
		kills = 200
	}
	dir := filepath.Join(scratch(t), "store")
	s, err := Open(dir, Options{Create: true})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Apply(t.Context(), 0, []store.Edit{{Op: store.AddAccount, Address: "me@here.example", Hash: testHash}}); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	k := &killed{size: map[string]int{}, sent: map[string]bool{}, deleting: map[string]bool{}, deleted: map[string]bool{}}
	rng := rand.New(rand.NewPCG(uint64(time.Now().UnixNano()), 0))
	for range kills {
		k.run(t, dir, time.Duration(rng.IntN(150))*time.Millisecond)
		k.check(t, dir)
		if t.Failed() {
			return
		}
	}
	t.Logf("%d messages over %d kills", len(k.size), kills)
}
