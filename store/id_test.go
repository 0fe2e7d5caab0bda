package store

import (
	"crypto/rand"
	"testing"
	"time"
)

func TestIDText(t *testing.T) {
	// The example of the ULID specification.
	id, err := ParseID("01ARZ3NDEKTSV4RRFFQ69G5FAV")
	if err != nil {
		t.Fatal(err)
	}
	if got := id.Time().UTC().Format(time.RFC3339Nano); got != "2016-07-30T23:54:10.259Z" {
		t.Errorf("time %s", got)
	}
	for range 1000 {
		var id ID
		rand.Read(id[:])
		if got := string(id.Append([]byte("id "))); got != "id "+id.String() {
			t.Fatalf("%x is appended as %s", id[:], got)
		}
		back, err := ParseID(id.String())
		if err != nil || back != id {
			t.Fatalf("%x became %s and then %x, %v", id[:], id.String(), back[:], err)
		}
	}
	for _, bad := range []string{"", "01ARZ3NDEKTSV4RRFFQ69G5FA", "81ARZ3NDEKTSV4RRFFQ69G5FAV", "01ARZ3NDEKTSV4RRFFQ69G5FAU"} {
		if _, err := ParseID(bad); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
}
