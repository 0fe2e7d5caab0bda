package boltstore

import (
	"slices"

	"example.org/letterbox/store"
)

func (e *editor) addAlias(edit store.Edit) error {
	if len(edit.Address) > 0 && edit.Address[0] == '@' {
		return e.addDomainAlias(edit)
	}
	name, err := address(edit.Address)
	if err != nil {
		return err
	}
	if e.dir.accounts[name] != nil {
		return refuse(store.CodeExists, "%s is an account, so it can't be an alias", name)
	}
	if len(edit.Targets) == 0 {
		return refuse(store.CodeInvalid, "alias %s has no target", name)
	}
	var targets []string
	for _, t := range edit.Targets {
		target, err := e.target(name, t)
		if err != nil {
			return err
		}
		if !slices.Contains(targets, target) {
			targets = append(targets, target)
		}
	}
	return putJSON(e.tx.Bucket(bucketAliases), name, targets)
}

// target checks that mail for a target stays here.
func (e *editor) target(of, text string) (string, error) {
	name, err := address(text)
	if err != nil {
		return "", err
	}
	if e.dir.accounts[name] == nil && e.dir.aliases[name] == nil {
		return "", refuse(store.CodeInvalid, "%s can't be a target: it is neither an account nor an alias here, and letterbox sends no mail elsewhere", name)
	}
	if name == of || e.dir.leadsTo(name, of, 0) {
		return "", refuse(store.CodeInvalid, "%s can't be a target of %s: it leads back to it", name, of)
	}
	return name, nil
}

func (d *directory) leadsTo(from, to string, depth int) bool {
	return depth < maxAliasDepth && slices.ContainsFunc(d.aliases[from], func(t string) bool {
		return t == to || d.leadsTo(t, to, depth+1)
	})
}

func (e *editor) addDomainAlias(edit store.Edit) error {
	from, err := domain(edit.Address)
	if err != nil {
		return err
	}
	if len(edit.Targets) != 1 || edit.Targets[0] == "" || edit.Targets[0][0] != '@' {
		return refuse(store.CodeInvalid, "a domain alias has one target, which is a domain too: @a.example @b.example")
	}
	to, err := domain(edit.Targets[0])
	if err != nil {
		return err
	}
	if !e.dir.domains[to] {
		return refuse(store.CodeInvalid, "@%s can't be a target: no account, alias or catch-all is in that domain, and letterbox sends no mail elsewhere", to)
	}
	for at, depth := to, 0; depth <= maxAliasDepth && at != ""; at, depth = e.dir.domainAliases[at], depth+1 {
		if at == from {
			return refuse(store.CodeInvalid, "@%s can't be a target of @%s: it leads back to it", to, from)
		}
	}
	for name := range e.dir.accounts {
		if domainOf(name) == from {
			return refuse(store.CodeExists, "@%s can't be a domain alias: it has accounts of its own, such as %s", from, name)
		}
	}
	return putJSON(e.tx.Bucket(bucketAliases), "@"+from, []string{"@" + to})
}

// domain returns the canonical form of a domain in an edit, with or without an @ in front.
func domain(text string) (string, error) {
	name := text
	if name != "" && name[0] == '@' {
		name = name[1:]
	}
	d, err := store.ParseDomain(name)
	if err != nil {
		return "", refuse(store.CodeInvalid, "%q %v", text, err)
	}
	return d, nil
}

func (e *editor) removeAlias(edit store.Edit) error {
	var name string
	var err error
	if len(edit.Address) > 0 && edit.Address[0] == '@' {
		name, err = domain(edit.Address)
		name = "@" + name
	} else {
		name, err = address(edit.Address)
	}
	if err != nil {
		return err
	}
	b := e.tx.Bucket(bucketAliases)
	if b.Get([]byte(name)) == nil {
		return refuse(store.CodeMissing, "%s is no alias: see letterbox alias list", name)
	}
	return b.Delete([]byte(name))
}

func (e *editor) catchAll(edit store.Edit) error {
	name, err := domain(edit.Address)
	if err != nil {
		return err
	}
	b := e.tx.Bucket(bucketCatchAlls)
	if edit.Op == store.ClearCatchAll {
		if b.Get([]byte(name)) == nil {
			return refuse(store.CodeMissing, "%s has no catch-all: see letterbox catchall list", name)
		}
		return b.Delete([]byte(name))
	}
	if len(edit.Targets) != 1 {
		return refuse(store.CodeInvalid, "a catch-all has one target")
	}
	if to := e.dir.domainAliases[name]; to != "" {
		return refuse(store.CodeInvalid, "%s is a domain alias of %s: set the catch-all there", name, to)
	}
	target, err := e.target("", edit.Targets[0])
	if err != nil {
		return err
	}
	return b.Put([]byte(name), []byte(target))
}
