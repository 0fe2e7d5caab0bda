package config

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"

	"github.com/pelletier/go-toml/v2"
)

// raw is one key's text in one layer.
type raw struct {
	items  []string
	source string
	base   string // the folder that relative paths start from; empty for the working directory
}

// layer holds the texts of one layer by key name.
type layer map[string]raw

// maxFile bounds what is read as a configuration file, so that a wrong path (a disk, a log) is no surprise.
const maxFile = 1 << 20

// readFile reads the TOML file into a layer. Keys that are not in the table are mistakes.
func readFile(path string, keys []Key, wrong *mistakes) layer {
	text, err := readBounded(path)
	if err != nil {
		wrong.add("configuration file %s can't be read: %s", path, cause(err))
		return nil
	}
	var tree map[string]any
	if err := toml.Unmarshal(text, &tree); err != nil {
		wrong.add("%s: %s", position(path, err), strings.TrimPrefix(err.Error(), "toml: "))
		return nil
	}
	places, err := positions(text, keys)
	if err != nil {
		wrong.add("%s: this is a section: write [%s] on a line of its own", position(path, err), errorKey(err))
		return nil
	}
	known := make(map[string]Key, len(keys))
	for _, k := range keys {
		known[k.Name] = k
	}
	file := layer{}
	for _, p := range places {
		place := fmt.Sprintf("%s:%d", path, p.line)
		key, ok := known[p.name]
		if !ok {
			wrong.add("%s: %s", place, unknown(p.name, keys))
			continue
		}
		items, err := texts(lookup(tree, p.name), key)
		if err != nil {
			wrong.add("%s: %s %s", place, p.name, err)
			continue
		}
		file[p.name] = raw{items: items, source: place, base: filepath.Dir(path)}
	}
	return file
}

func readBounded(path string) ([]byte, error) {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular() && !strings.HasPrefix(path, "/dev/"):
		return nil, errors.New("it is no regular file")
	case info.Size() > maxFile:
		return nil, fmt.Errorf("it has %d octets; %d are allowed", info.Size(), maxFile)
	}
	return os.ReadFile(path)
}

// cause leaves the operation and the path out of an error of package os, since the sentence around it names them.
func cause(err error) error {
	if pathErr := (*fs.PathError)(nil); errors.As(err, &pathErr) {
		return pathErr.Err
	}
	return err
}

type place struct {
	name string
	line int
}

// positions returns where each key of the document stands. The decoder reports the place of every key that its target
// lacks; the target here has all sections and not one key.
func positions(text []byte, keys []Key) ([]place, error) {
	var fields []reflect.StructField
	seen := map[string]bool{"": true}
	for _, k := range keys {
		if s := k.Section(); !seen[s] {
			seen[s] = true
			fields = append(fields, reflect.StructField{
				Name: strings.ToUpper(s), Type: reflect.TypeFor[struct{}](), Tag: reflect.StructTag(`toml:"` + s + `"`),
			})
		}
	}
	decoder := toml.NewDecoder(bytes.NewReader(text)).DisallowUnknownFields()
	err := decoder.Decode(reflect.New(reflect.StructOf(fields)).Interface())
	missing := (*toml.StrictMissingError)(nil)
	if err == nil {
		return nil, nil
	}
	if !errors.As(err, &missing) {
		return nil, err
	}
	var places []place
	for _, e := range missing.Errors {
		line, _ := e.Position()
		places = append(places, place{name: strings.Join(e.Key(), "."), line: line})
	}
	return places, nil
}

func position(path string, err error) string {
	if decode := (*toml.DecodeError)(nil); errors.As(err, &decode) {
		line, _ := decode.Position()
		return fmt.Sprintf("%s:%d", path, line)
	}
	return path
}

func errorKey(err error) string {
	if decode := (*toml.DecodeError)(nil); errors.As(err, &decode) {
		return strings.Join(decode.Key(), ".")
	}
	return ""
}

// unknown says that name is in no table, and which key or section may be meant.
func unknown(name string, keys []Key) string {
	var names, sections []string
	for _, k := range keys {
		names = append(names, k.Name)
		sections = append(sections, k.Section())
		// A key that stands in the wrong section, or above all of them.
		if bare := k.Name[strings.LastIndexByte(k.Name, '.')+1:]; bare == name[strings.LastIndexByte(name, '.')+1:] {
			return fmt.Sprintf("unknown key %q%s", name, didYouMean(k.Name))
		}
	}
	if near := nearest(name, names); near != "" {
		return fmt.Sprintf("unknown key %q%s", name, didYouMean(near))
	}
	if near := nearest(name, sections); near != "" {
		return fmt.Sprintf("unknown section [%s]; did you mean [%s]?", name, near)
	}
	return fmt.Sprintf("unknown key %q; `letterbox config reference` lists them all", name)
}

func lookup(tree map[string]any, name string) any {
	section, key, ok := strings.Cut(name, ".")
	if !ok {
		return tree[name]
	}
	inner, _ := tree[section].(map[string]any)
	return inner[key]
}

// texts returns the items of a TOML value. A list may be written as one item.
func texts(v any, k Key) ([]string, error) {
	word, list := k.Kind()
	values, isList := v.([]any)
	if !isList {
		values = []any{v}
	} else if !list {
		return nil, fmt.Errorf("takes one value (%s), not a list", word)
	}
	items := make([]string, 0, len(values))
	for _, v := range values {
		switch v := v.(type) {
		case string:
			items = append(items, v)
		case int64:
			items = append(items, strconv.FormatInt(v, 10))
		case float64:
			if v != math.Trunc(v) {
				return nil, fmt.Errorf("takes no fraction: write it as text, for instance \"50MiB\"")
			}
			items = append(items, strconv.FormatFloat(v, 'f', -1, 64))
		case bool:
			items = append(items, strconv.FormatBool(v))
		default:
			return nil, fmt.Errorf("takes %s in quotes", article(word, list))
		}
	}
	return items, nil
}

// article puts what must stand before the word for a key's type: a number, one of several words, or a list.
func article(word string, list bool) string {
	switch {
	case list:
		return "a list of " + word + ", each"
	case strings.Contains(word, ", "):
		return "one of " + word
	}
	return "a " + word
}
