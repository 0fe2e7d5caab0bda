package migrate

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"example.org/letterbox/store"
)

func TestUIDList(t *testing.T) {
	k, err := readUIDList(strings.NewReader("3 V1600000000 N9 Gabc\n1 :a.b.c,S=1:2,S\n2 W5 Pown-1 :d\n4 P :e.f\n7 O1 :first\n8 Pwith\x7fdel :g\n"))
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"a.b.c,S=1": "000000015f5e1000", "d": "own-1", "e.f": "e.f", "first": "000000075f5e1000"}
	if !maps.Equal(k.uidl, want) {
		t.Errorf("UIDLs %v", k.uidl)
	}
	names := slices.SortedFunc(maps.Keys(k.rank), func(a, b string) int { return int(k.rank[a] - k.rank[b]) })
	if strings.Join(names, " ") != "first a.b.c,S=1 d e.f g" {
		t.Errorf("order %v", names)
	}
	k, err = readUIDList(strings.NewReader("1 1600000000 3\n2 a:2,\n"))
	if err != nil || k.uidl["a"] != "000000025f5e1000" {
		t.Errorf("version 1: %v, %v", k, err)
	}
	for _, bad := range []string{"", "2 V1\n", "3 N1\n", "3 Vx\n", "3 V1\nx :a\n", "3 V1\n0 :a\n", "3 V99999999999\n"} {
		if _, err := readUIDList(strings.NewReader(bad)); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
}

func TestSizeList(t *testing.T) {
	k, err := readSizeList(strings.NewReader("/3 12 1600000000\n1.a.h,S=5:2,S 5 11:1600000000:0\n2.b c.h 7 3:0:0\n3'.h 9 0:0:1\n"))
	want := map[string]string{"1.a.h,S=5": "UID11-1600000000", "2.b c.h": "UID3", "3'.h": "3+27.h"}
	if err != nil || !maps.Equal(k.uidl, want) {
		t.Errorf("%v, %v", k, err)
	}
	if k, err := readSizeList(strings.NewReader("/2 12 5\na 5 11:6\n")); err != nil || k.uidl["a"] != "UID11-6" {
		t.Errorf("version 2: %v, %v", k, err)
	}
	for _, bad := range []string{"", "a 5\n", "/1 2\n", "/2 1 1\na 5\n", "/2 1 1\na 5 x:1\n", "/3 1 1\nabc\n"} {
		if _, err := readSizeList(strings.NewReader(bad)); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
}

// FuzzUIDLists: whatever stands in the servers' lists, what comes of it are UIDLs.
func FuzzUIDLists(f *testing.F) {
	f.Add("3 V1600000000 N9 Gabc\n1 :a.b.c,S=1:2,S\n2 W5 Pown-1 :d\n4 P :e.f\n7 O1 :first\n")
	f.Add("1 1600000000 3\n2 a:2,\n")
	f.Add("/3 12 1600000000\n1.a.h,S=5:2,S 5 11:1600000000:0\n3'.h 9 0:0:1\n")
	f.Fuzz(func(t *testing.T, text string) {
		a, err := readUIDList(strings.NewReader(text))
		b, err2 := readSizeList(strings.NewReader(text))
		for _, k := range []*known{a, b} {
			if k == nil {
				if err == nil && err2 == nil {
					t.Fatal("no list and no error")
				}
				continue
			}
			for name, uidl := range k.uidl {
				if _, ok := k.rank[name]; !ok || !store.IsUIDL(uidl) {
					t.Fatalf("%q has %q", name, uidl)
				}
			}
		}
	})
}
