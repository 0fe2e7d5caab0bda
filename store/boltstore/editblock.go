package boltstore

import (
	"net/netip"
	"strings"

	"example.org/letterbox/store"
)

// blocked returns the key of the block that an edit names, and how people call it.
func (e *editor) blocked(edit store.Edit) (key, name string, err error) {
	if len(edit.Targets) > 1 || edit.Address == "" && len(edit.Targets) == 0 {
		return "", "", refuse(store.CodeInvalid, "a block has a sender, a recipient, or one of each")
	}
	sender, err := sender(edit.Address)
	if err != nil {
		return "", "", err
	}
	if len(edit.Targets) == 0 {
		return blockKey(sender, ""), sender, nil
	}
	to, err := store.ParseAddress(edit.Targets[0])
	if err != nil {
		return "", "", refuse(store.CodeInvalid, "%q %v", edit.Targets[0], err)
	}
	recipient := to.String()
	if sender == "" {
		return blockKey(sender, recipient), recipient, nil
	}
	return blockKey(sender, recipient), sender + " to " + recipient, nil
}

// sender returns the canonical form of an address, a domain or a network, and nothing for nothing.
func sender(text string) (string, error) {
	if text == "" {
		return "", nil
	}
	if network, err := store.ParseNetwork(text); err == nil {
		return network.String(), refuseAll(network)
	} else if strings.ContainsRune(text, '/') {
		return "", refuse(store.CodeInvalid, "%q %v", text, err)
	}
	if at := strings.LastIndexByte(text, '@'); at > 0 {
		a, err := store.ParseAddress(text)
		if err != nil {
			return "", refuse(store.CodeInvalid, "%q %v", text, err)
		}
		return a.String(), nil
	}
	return domain(text)
}

// refuseAll refuses a network that holds every address.
func refuseAll(network netip.Prefix) error {
	if network.Bits() == 0 {
		return refuse(store.CodeInvalid, "%s can't be blocked: every sender is in it", network)
	}
	return nil
}

func (e *editor) addBlock(edit store.Edit) error {
	key, name, err := e.blocked(edit)
	if err != nil {
		return err
	}
	blocked, _ := splitBlockKey(key)
	if blocked != "" && !strings.ContainsAny(blocked, "@/") && strings.Trim(blocked[strings.LastIndexByte(blocked, '.')+1:], "0123456789") == "" {
		return refuse(store.CodeInvalid, "%q is no network, and no domain ends in a number", blocked)
	}
	if _, exists := e.dir.blocks.facts[key]; exists {
		return refuse(store.CodeExists, "%s is blocked already", name)
	}
	if _, recipient := splitBlockKey(key); recipient != "" && !e.dir.domains[domainOf(recipient)] {
		return refuse(store.CodeInvalid, "%s can't be spared: no account, alias or catch-all is in that domain, so no mail for it is taken", recipient)
	}
	return putJSON(e.tx.Bucket(bucketBlocks), key, blockFacts{Created: e.s.opt.Now().UTC().Truncate(1e9)})
}

func (e *editor) removeBlock(edit store.Edit) error {
	key, name, err := e.blocked(edit)
	if err != nil {
		return err
	}
	if _, exists := e.dir.blocks.facts[key]; !exists {
		return refuse(store.CodeMissing, "%s is not blocked: see letterbox block list", name)
	}
	e.unblocked = append(e.unblocked, key)
	if err := e.tx.Bucket(bucketBlockUses).Delete([]byte(key)); err != nil {
		return err
	}
	return e.tx.Bucket(bucketBlocks).Delete([]byte(key))
}
