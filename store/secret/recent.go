package secret

import "container/list"

// recent is a table of at most throttleEntries values that drops the one that was touched least recently for a new one. The
// zero value is empty.
type recent[V any] struct {
	order   list.List // of *recentEntry, the last touched in front
	entries map[digest]*list.Element
}

type recentEntry[V any] struct {
	key   digest
	value V
}

// get returns the value of key, nil for none. It touches nothing: looking at an entry does not keep it.
func (r *recent[V]) get(key digest) *V {
	if e := r.entries[key]; e != nil {
		return &e.Value.(*recentEntry[V]).value
	}
	return nil
}

// put sets the value of key and touches it.
func (r *recent[V]) put(key digest, value V) *V {
	if r.entries == nil {
		r.entries = map[digest]*list.Element{}
	}
	r.remove(key)
	if r.order.Len() >= throttleEntries {
		r.remove(r.order.Back().Value.(*recentEntry[V]).key)
	}
	entry := &recentEntry[V]{key, value}
	r.entries[key] = r.order.PushFront(entry)
	return &entry.value
}

func (r *recent[V]) touch(key digest) {
	if e := r.entries[key]; e != nil {
		r.order.MoveToFront(e)
	}
}

func (r *recent[V]) remove(key digest) {
	if e := r.entries[key]; e != nil {
		r.order.Remove(e)
		delete(r.entries, key)
	}
}
