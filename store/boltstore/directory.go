package boltstore

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"example.org/letterbox/store"
)

// maxAliasDepth bounds how far an alias leads to another.
const maxAliasDepth = 10

// directory is who gets mail, in memory. It is never changed: a change makes a new one.
type directory struct {
	revision      uint64
	accounts      map[string]*account // by address
	aliases       map[string][]string // address -> targets
	domainAliases map[string]string   // domain -> domain
	catchAlls     map[string]string   // domain -> address
	blocks        *blocks

	domains map[string]bool // every domain that one of them names
	byDrop  map[store.MaildropID]*account
	locals  map[string]*account // by local part; nil where several accounts have it
	oldest  string              // address of the account that was made first
	lost    []string            // what dangling returns
}

func newDirectory() *directory {
	return &directory{
		accounts: map[string]*account{}, aliases: map[string][]string{}, domainAliases: map[string]string{},
		catchAlls: map[string]string{}, blocks: newBlocks(), domains: map[string]bool{}, byDrop: map[store.MaildropID]*account{}, locals: map[string]*account{},
	}
}

// complete derives what follows from the facts.
func (d *directory) complete() {
	for address, acc := range d.accounts {
		d.domains[domainOf(address)] = true
		d.byDrop[acc.Maildrop] = acc
		local := address[:strings.LastIndexByte(address, '@')]
		if _, several := d.locals[local]; several {
			d.locals[local] = nil
		} else {
			d.locals[local] = acc
		}
		if !acc.Disabled && (d.oldest == "" || acc.Maildrop < d.accounts[d.oldest].Maildrop) {
			d.oldest = address
		}
	}
	for address := range d.aliases {
		d.domains[domainOf(address)] = true
	}
	for domain := range d.domainAliases {
		d.domains[domain] = true
	}
	for domain := range d.catchAlls {
		d.domains[domain] = true
	}
	d.lost = d.dangling()
}

func domainOf(address string) string { return address[strings.LastIndexByte(address, '@')+1:] }

// Resolve implements store.Deliverer.
func (s *Store) Resolve(_ context.Context, a store.Attempt) (store.Target, error) {
	if err := s.Health(); err != nil {
		return store.Target{}, fmt.Errorf("%w: %w", store.ErrUnavailable, err)
	}
	to, err := store.ParseAddress(a.To)
	if err != nil {
		return store.Target{}, fmt.Errorf("%w: it %w", store.ErrNoMaildrop, err)
	}
	if s.canary.at(to, a.Peer) {
		return s.resolveCanary(a.Size)
	}
	dir := s.accounts.directory()
	drops, err := dir.resolve(to)
	if err == nil && a.Session != "" {
		err = s.blocked(dir, a, to)
	}
	if err == nil && s.space.tight(a.Size) {
		err = fmt.Errorf("%w: the disk is almost full", store.ErrFull)
	}
	if err == nil {
		err = s.withinQuota(dir, drops, a.Size)
	}
	return store.Target{Maildrops: drops}, err
}

// blocked refuses an attempt that a block is for, and counts it.
func (s *Store) blocked(dir *directory, a store.Attempt, to store.Address) error {
	if len(dir.blocks.facts) == 0 {
		return nil
	}
	key, ok := dir.blocks.match(a, dir.recipientNames(to))
	if !ok {
		return nil
	}
	s.blockUses.count(key)
	sender, recipient := splitBlockKey(key)
	return fmt.Errorf("%w: sender %q, recipient %q", store.ErrBlocked, sender, recipient)
}

// aliased returns the address that a domain alias makes of one.
func (d *directory) aliased(to store.Address) store.Address {
	for range maxAliasDepth {
		other, ok := d.domainAliases[to.Domain]
		if !ok {
			break
		}
		to.Domain = other
	}
	return to
}

func (d *directory) resolve(to store.Address) ([]store.MaildropID, error) {
	if len(d.accounts) == 0 {
		return nil, fmt.Errorf("%w: it has no account", store.ErrUnready)
	}
	to = d.aliased(to)
	if !d.domains[to.Domain] {
		return nil, store.ErrNotLocal
	}
	name, ok := d.find(to)
	if !ok {
		return nil, store.ErrNoMaildrop
	}
	var found lookup
	found.follow(d, name, 0)
	return found.result()
}

// dangling returns the aliases and catch-alls whose mail is put off because an account behind them is gone, ordered.
func (d *directory) dangling() []string {
	var names []string
	for address := range d.aliases {
		var l lookup
		if l.follow(d, address, 0); l.dangling != "" {
			names = append(names, address)
		}
	}
	for domain, target := range d.catchAlls {
		var l lookup
		if l.follow(d, target, 0); l.dangling != "" {
			names = append(names, "@"+domain)
		}
	}
	slices.Sort(names)
	return names
}

// Dangling returns the aliases, and the domains of catch-alls with an @ in front, whose mail is put off because an account
// behind them is gone.
func (s *Store) Dangling() []string { return s.accounts.directory().lost }

// find says which account, alias or catch-all target an address stands for: itself, without its +tag, the catch-all's, and
// for postmaster (RFC 5321 section 4.5.1) and abuse (RFC 2142 section 2) in the end the oldest account.
func (d *directory) find(to store.Address) (string, bool) {
	names := to.Untagged()
	for _, address := range names {
		if d.accounts[address] != nil || d.aliases[address] != nil {
			return address, true
		}
	}
	if target, ok := d.catchAlls[to.Domain]; ok {
		return target, true
	}
	if slices.Contains(names, "postmaster@"+to.Domain) || slices.Contains(names, "abuse@"+to.Domain) {
		return d.oldest, true
	}
	return "", false
}

// lookup collects the maildrops behind a name.
type lookup struct {
	drops    []store.MaildropID
	disabled bool
	dangling string
}

func (l *lookup) follow(d *directory, address string, depth int) {
	if address == "" {
		l.dangling = "no account that is enabled"
		return
	}
	if acc := d.accounts[address]; acc != nil {
		switch {
		case acc.Disabled:
			l.disabled = true
		case !slices.Contains(l.drops, acc.Maildrop):
			l.drops = append(l.drops, acc.Maildrop)
		}
		return
	}
	targets := d.aliases[address]
	if targets == nil || depth == maxAliasDepth {
		l.dangling = address
		return
	}
	for _, t := range targets {
		l.follow(d, t, depth+1)
	}
}

// result refuses for good only what is certain: a target that is gone may come back, so mail for it waits at the sender.
func (l *lookup) result() ([]store.MaildropID, error) {
	switch {
	case l.dangling != "":
		return nil, fmt.Errorf("%w: %s is a target and no account", store.ErrUnready, l.dangling)
	case len(l.drops) > 0:
		return l.drops, nil
	default:
		return nil, store.ErrDisabled
	}
}
