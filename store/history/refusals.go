package history

import (
	"net/netip"
	"time"

	"example.org/letterbox/store"
)

// The bounds of refusals that are put together at a time.
const (
	together    = time.Minute
	maxAlike    = 1024 // by client and addresses
	maxOfClient = 64   // of these
	maxNetworks = 1024 // by network
	maxReasons  = 64   // by reason alone; there are a dozen
)

// alike is what refusals that become one line have in common.
type alike struct {
	remote, from, to  string
	verb, reason      string
	messageID         string
	code              int
	network, anywhere bool
}

// repeated is refusals that wait to become a line.
type repeated struct {
	event       store.Event // the first of them
	count       int64
	since       time.Time // when the minute began
	first, last time.Time
}

// refusals puts refusals together.
type refusals struct {
	known                    map[alike]*repeated
	exact, networks, reasons int            // of these
	ofClient                 map[string]int // of the exact ones
	dropped                  uint64
}

// add takes a refusal and tells whether it is to be written at once.
func (r *refusals) add(e *store.Event) (now bool) {
	if r.known == nil {
		r.known, r.ofClient = map[alike]*repeated{}, map[string]int{}
	}
	key := alike{remote: e.Remote, from: e.From, verb: e.Verb, reason: e.Reason, code: e.Code, messageID: e.MessageID}
	if len(e.To) > 0 {
		key.to = cut(e.To[0], store.MaxPath)
	}
	if known := r.known[key]; known != nil {
		known.count1(e.Time)
		return false
	}
	if r.exact < maxAlike && r.ofClient[e.Remote] < maxOfClient {
		r.exact++
		r.ofClient[e.Remote]++
		first := *e
		first.To = make([]string, 0, min(len(e.To), maxListed))
		for _, path := range e.To[:cap(first.To)] {
			first.To = append(first.To, cut(path, store.MaxPath))
		}
		r.known[key] = &repeated{event: first, since: e.Time}
		return true
	}
	r.merge(key, e)
	return false
}

// merge counts a refusal for the client's network, else for its reason alone.
func (r *refusals) merge(key alike, e *store.Event) {
	wide := alike{remote: networkOf(e.Remote), verb: key.verb, reason: key.reason, code: key.code, network: true}
	if r.known[wide] == nil && r.networks >= maxNetworks {
		wide.remote, wide.network, wide.anywhere = "", false, true
	}
	known := r.known[wide]
	switch {
	case known != nil:
	case wide.anywhere && r.reasons >= maxReasons:
		r.dropped++
		return
	default:
		if wide.network {
			r.networks++
		} else {
			r.reasons++
		}
		known = &repeated{since: e.Time, event: store.Event{
			Kind: e.Kind, Remote: wide.remote, Verb: wide.verb, Reason: wide.reason, Code: wide.code,
		}}
		r.known[wide] = known
	}
	known.count1(e.Time)
}

func (r *repeated) count1(at time.Time) {
	if r.count == 0 {
		r.first = at
	}
	r.count++
	r.last = at
}

// take returns the lines of what is to be written: of all that were counted, or of those whose minute is over, which are
// then forgotten.
func (r *refusals) take(now time.Time, all bool, write func(*store.Event)) {
	for key, known := range r.known {
		age := now.Sub(known.since)
		over := age >= together || age < -time.Second // the clock went back
		if known.count > 0 && (over || all) {
			known.event.Time, known.event.First, known.event.Count = known.last, known.first, known.count
			write(&known.event)
			known.count = 0
		}
		if over {
			r.forget(key)
		}
	}
}

func (r *refusals) forget(key alike) {
	delete(r.known, key)
	switch {
	case key.network:
		r.networks--
	case key.anywhere:
		r.reasons--
	default:
		r.exact--
		if r.ofClient[key.remote]--; r.ofClient[key.remote] == 0 {
			delete(r.ofClient, key.remote)
		}
	}
}

// networkOf is the network of a client, as text; empty for none.
func networkOf(remote string) string {
	addr, err := netip.ParseAddr(remote)
	if err != nil {
		return ""
	}
	bits := 48
	if addr = addr.Unmap().WithZone(""); addr.Is4() {
		bits = 24
	}
	network, _ := addr.Prefix(bits) // there are so many bits
	return network.String()
}
