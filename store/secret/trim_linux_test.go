package secret

import (
	"os"
	"os/exec"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// resident is what the process has of the machine's memory, in octets.
func resident(t *testing.T) int64 {
	t.Helper()
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(status), "\nVmRSS:")
	pages, err := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return pages << 10
}

// The system gets back what a burst of checks took. A process of its own makes it: verifiers of other tests give back what they
// find, of whomever it is, some time after their last check.
func TestMemoryGoesBackAfterABurst(t *testing.T) {
	const alone = "LETTERBOX_TEST_ALONE"
	if os.Getenv(alone) == "" {
		cmd := exec.Command(os.Args[0], "-test.run=^TestMemoryGoesBackAfterABurst$")
		cmd.Env = append(os.Environ(), alone+"=1")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%v\n%s", err, out)
		}
		return
	}
	v := NewVerifier(0)
	v.trim.begin() // nothing goes back before the test has looked, however long the burst takes
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	var burst sync.WaitGroup
	for range 6 {
		burst.Go(func() {
			if _, _, err := v.Verify(t.Context(), "", "wrong"); err != nil {
				t.Error(err)
			}
		})
	}
	burst.Wait()
	after := resident(t)
	if after < 3*argonMemory<<10 {
		t.Fatalf("%d octets are resident behind a burst: nothing to give back", after)
	}
	v.trim.end()
	most := after - 3*argonMemory<<10
	deadline := time.Now().Add(time.Minute)
	for tick := time.NewTicker(50 * time.Millisecond); resident(t) > most; <-tick.C {
		if time.Now().After(deadline) {
			t.Fatalf("%d octets are resident, %d right behind the burst", resident(t), after)
		}
	}
}
