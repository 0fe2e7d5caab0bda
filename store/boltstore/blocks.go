package boltstore

import (
	"net/netip"
	"slices"
	"strings"
	"time"

	"example.org/letterbox/store"
)

// blockFacts is the value of bucketBlocks, as JSON; its key is blockKey's.
type blockFacts struct {
	Created time.Time `json:"created"`
}

// blockKey names a block: a sender and a recipient in canonical form, either of them empty for all.
func blockKey(sender, recipient string) string { return sender + "\x00" + recipient }

func splitBlockKey(key string) (sender, recipient string) {
	sender, recipient, _ = strings.Cut(key, "\x00")
	return sender, recipient
}

// blocks is who is refused, in a form in which one RCPT asks for a few keys, however many blocks there are: the address, its
// domain and the domains above it, and the network of each length that occurs.
type blocks struct {
	facts    map[string]blockFacts // by key
	senders  map[string]recipients // by address, by domain, and by nothing
	networks map[netip.Prefix]recipients
	bits     map[int][]int // of an address, in bits: the lengths of networks that occur
}

// recipients are those who are spared the mail of one sender, with the key of the block. The empty one is everybody.
type recipients map[string]string

func newBlocks() *blocks {
	return &blocks{
		facts: map[string]blockFacts{}, senders: map[string]recipients{}, networks: map[netip.Prefix]recipients{}, bits: map[int][]int{},
	}
}

func (b *blocks) add(key string, f blockFacts) {
	b.facts[key] = f
	sender, recipient := splitBlockKey(key)
	network, err := netip.ParsePrefix(sender)
	if err != nil {
		put(b.senders, sender, recipient, key)
		return
	}
	put(b.networks, network, recipient, key)
	size := network.Addr().BitLen()
	if !slices.Contains(b.bits[size], network.Bits()) {
		b.bits[size] = append(b.bits[size], network.Bits())
	}
}

func put[K comparable](m map[K]recipients, sender K, recipient, key string) {
	if m[sender] == nil {
		m[sender] = recipients{}
	}
	m[sender][recipient] = key
}

// match returns the key of a block that refuses the attempt. names are the forward-path's.
func (b *blocks) match(a store.Attempt, names []string) (key string, ok bool) {
	if len(b.facts) == 0 {
		return "", false
	}
	for _, sender := range senderNames(a.From) {
		if key, ok = b.senders[sender].find(names); ok {
			return key, true
		}
	}
	peer := a.Peer.Unmap().WithZone("")
	for _, bits := range b.bits[peer.BitLen()] {
		if network, err := peer.Prefix(bits); err == nil {
			if key, ok = b.networks[network].find(names); ok {
				return key, true
			}
		}
	}
	return b.senders[""].find(names)
}

func (r recipients) find(names []string) (key string, ok bool) {
	if len(r) == 0 {
		return "", false
	}
	if key, ok = r[""]; ok {
		return key, true
	}
	for _, name := range names {
		if key, ok = r[name]; ok {
			return key, true
		}
	}
	return "", false
}

// senderNames returns what a block may call a reverse-path: its address, its domain, and each domain above that. A domain
// that is none, as in an address literal, has no name but its peer's network.
func senderNames(from string) []string {
	at := strings.LastIndexByte(from, '@')
	if at < 0 {
		return nil
	}
	domain, err := store.ParseDomain(from[at+1:])
	if err != nil {
		return nil
	}
	names := []string{strings.ToLower(from[:at]) + "@" + domain, domain}
	for {
		_, above, more := strings.Cut(domain, ".")
		if !more {
			return names
		}
		names, domain = append(names, above), above
	}
}

// recipientNames returns what a block may call a forward-path: the address, the one without its +tag, and both again where
// its domain is an alias of another.
func (d *directory) recipientNames(to store.Address) []string {
	names := to.Untagged()
	if real := d.aliased(to); real != to {
		names = append(names, real.Untagged()...)
	}
	return names
}

// list returns the blocks in order of their names, with what was counted of each.
func (b *blocks) list(uses *blockUses) []store.Block {
	list := make([]store.Block, 0, len(b.facts))
	for key, f := range b.facts {
		sender, recipient := splitBlockKey(key)
		count, last := uses.of(key)
		list = append(list, store.Block{Sender: sender, Recipient: recipient, Created: f.Created, Refused: count, LastUsed: last})
	}
	slices.SortFunc(list, func(x, y store.Block) int {
		return strings.Compare(blockKey(x.Sender, x.Recipient), blockKey(y.Sender, y.Recipient))
	})
	return list
}
