package config

import (
	"flag"
	"fmt"
	"slices"
	"strings"
)

// Flags are the flags of one command line that set keys, and --config.
type Flags struct {
	file   string
	values map[string][]string // by the flag's name
}

// Register defines on fs the flags of every key for which use is true, and --config.
func Register(fs *flag.FlagSet, use func(Key) bool) *Flags {
	f := &Flags{values: map[string][]string{}}
	fs.StringVar(&f.file, "config", "", "the configuration, instead of the one in the usual places (`FILE`)")
	for _, k := range Keys() {
		if !use(k) {
			continue
		}
		_, list := k.Kind()
		for _, name := range k.Flags {
			fs.Var(flagValue{f.values, name.Name, list}, name.Name, flagText(k, name))
		}
	}
	return f
}

// Args returns the flags again, as arguments for another process of this binary: --config, and those of every key for
// which use is true.
func (f *Flags) Args(use func(Key) bool) []string {
	var args []string
	if f.file != "" {
		args = append(args, "--config="+f.file)
	}
	for _, k := range Keys() {
		if !use(k) {
			continue
		}
		for _, name := range k.Flags {
			for _, value := range f.values[name.Name] {
				args = append(args, "--"+name.Name+"="+value)
			}
		}
	}
	return args
}

// flagText is the key's first sentence and the placeholder of the flag's value, in back quotes for package flag.
func flagText(k Key, f Flag) string {
	text, _, _ := strings.Cut(strings.ReplaceAll(k.Text, "`", ""), ". ")
	switch f.Word {
	case wordPlain:
		text, _, _ = strings.Cut(text, ";")
	case wordTLS:
		text, _, _ = strings.Cut(text, ";")
		text += " with TLS from the first octet"
	}
	if k.Name == "accounts.create" {
		text = "make this account if it is not there; without a password one is generated"
	}
	return fmt.Sprintf("%s (`%s`)", strings.TrimSuffix(text, "."), placeholder(k))
}

func placeholder(k Key) string {
	switch kind, _ := k.Kind(); kind {
	case "addresses":
		return "ADDR"
	case "accounts":
		return "ADDRESS[:PASSWORD]"
	case "path":
		return "PATH"
	case "size", "number":
		return "N"
	case "text":
		return "NAME"
	default:
		return strings.ReplaceAll(kind, ", ", "|")
	}
}

// flagValue collects the uses of one flag; the texts are checked with those of the other layers.
type flagValue struct {
	values map[string][]string
	name   string
	list   bool
}

// String is the zero text: the default of a key stands in the reference.
func (v flagValue) String() string { return "" }

// Set takes one use of the flag. Of a scalar the last use counts, as everywhere in package flag.
func (v flagValue) Set(s string) error {
	if v.list {
		v.values[v.name] = append(v.values[v.name], s)
		return nil
	}
	v.values[v.name] = one(s)
	return nil
}

// over lays the flags of key k over what the lower layers have for it.
func (f *Flags) over(k Key, lower raw) raw {
	for _, name := range k.Flags {
		given, ok := f.values[name.Name]
		if !ok {
			continue
		}
		source := "--" + name.Name
		if name.Word == "" {
			lower = raw{items: given, source: source}
			continue
		}
		lower = replacePart(lower, given, source, name.Word)
	}
	return lower
}

// replacePart replaces those entries of a list of addresses that have the word tls (or have not), and keeps the others.
func replacePart(lower raw, given []string, source, word string) raw {
	var kept, added []string
	for _, item := range lower.items {
		if strings.TrimSpace(item) != off && hasTLS(item) != (word == wordTLS) {
			kept = append(kept, item)
		}
	}
	for _, item := range given {
		switch {
		case strings.TrimSpace(item) == off && len(given) == 1:
			// Nothing in place of what was there.
		case word == wordTLS && !hasTLS(item):
			added = append(added, item+" tls")
		default:
			added = append(added, item)
		}
	}
	items := append(added, kept...)
	if word == wordTLS {
		items = append(kept, added...)
	}
	if len(items) == 0 {
		items = one(off)
	}
	if len(kept) > 0 {
		source += ", " + lower.source
	}
	return raw{items: items, source: source}
}

func hasTLS(address string) bool { return slices.Contains(strings.Fields(address), wordTLS) }
