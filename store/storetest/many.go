package storetest

import (
	"fmt"
	"sync"
)

func (h *harness) manyAtOnce() {
	const senders, each = 8, 25
	h.accounts("a@here.example", "b@here.example", "c@here.example")
	names := []string{"a@here.example", "b@here.example", "c@here.example"}
	var wg sync.WaitGroup
	for s := range senders {
		wg.Go(func() {
			for i := range each {
				h.deliver(fmt.Sprintf("n: %d-%d\r\n\r\n", s, i), names[i%3], names[(i+1)%3])
			}
		})
	}
	fetched := make([]map[string]int, 3)
	for k, name := range names {
		fetched[k] = map[string]int{}
		wg.Go(func() {
			for n := 0; n < senders*each*2/3-senders; {
				n += h.drain(name, fetched[k])
			}
		})
	}
	wg.Wait()
	total := 0
	for k, name := range names {
		h.drain(name, fetched[k])
		for text, n := range fetched[k] {
			total++
			if n != 1 {
				h.Errorf("%s got %q %d times", name, text, n)
			}
		}
	}
	if total != senders*each*2 {
		h.Errorf("%d messages came out, want %d", total, senders*each*2)
	}
}

func (h *harness) drain(name string, into map[string]int) int {
	m, err := h.tryOpen(name, Password)
	if err != nil {
		h.Error(err)
		return 1 << 20
	}
	defer m.Close()
	var all []int
	for i := range m.Messages() {
		into[h.retrieve(m, i)]++
		all = append(all, i)
	}
	h.check(m.Commit(h.ctx(), all))
	return len(all)
}
