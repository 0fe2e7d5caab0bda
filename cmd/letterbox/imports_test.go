package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const module = "example.org/letterbox"

// goPackage is what `go list` says of one package.
type goPackage struct {
	ImportPath string
	Dir        string
	GoFiles    []string
	Standard   bool
	Deps       []string
	Doc        string
}

// packages lists every package of the module and all that they reach.
func packages(t *testing.T) map[string]goPackage {
	t.Helper()
	cmd := exec.Command("go", "list", "-e", "-deps", "-json=ImportPath,Dir,GoFiles,Standard,Deps,Doc", module+"/...")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, stderr.String())
	}
	all := map[string]goPackage{}
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		var p goPackage
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			t.Fatal(err)
		}
		all[p.ImportPath] = p
	}
}

func ours(path string) bool { return path == module || strings.HasPrefix(path, module+"/") }

// TestRules holds the module to its rules with one look at all packages.
func TestRules(t *testing.T) {
	all := packages(t)
	t.Run("Imports", func(t *testing.T) { checkImports(t, all) })
	t.Run("NothingImportsCmd", func(t *testing.T) { checkCmd(t, all) })
	t.Run("Packages", func(t *testing.T) { checkPackages(t, all) })
}

// checkImports holds the rules of who may reach whom. A rule is about everything that a package reaches, however far.
func checkImports(t *testing.T, all map[string]goPackage) {
	rules := []struct {
		pkg    string
		ours   []string // of this module only these may be reached
		others []string // path prefixes of other modules that may not be reached
	}{
		{"smtpd", []string{"store"}, []string{"go.etcd.io/bbolt", "github.com/prometheus"}},
		{"pop3d", []string{"store"}, []string{"go.etcd.io/bbolt", "github.com/prometheus"}},
		{"store/storesock", []string{"store"}, []string{"go.etcd.io/bbolt", "github.com/prometheus"}},
		{"metrics", []string{"store"}, []string{"go.etcd.io/bbolt", "github.com/emersion"}},
		{"store", nil, []string{"go.etcd.io/bbolt", "github.com/prometheus", "github.com/emersion", "github.com/rs/zerolog"}},
		{"store/seglog", []string{"store/vfs"}, []string{"go.etcd.io/bbolt", "github.com/prometheus", "github.com/emersion"}},
		{"store/history", []string{"store", "store/vfs"}, []string{"go.etcd.io/bbolt", "github.com/prometheus", "github.com/emersion", "github.com/rs/zerolog"}},
		{"store/vfs", nil, []string{"go.etcd.io/bbolt", "github.com/prometheus", "github.com/emersion"}},
		{"store/secret", nil, []string{"go.etcd.io/bbolt", "github.com/prometheus", "github.com/emersion"}},
		{"store/boltstore", []string{"store", "store/history", "store/seglog", "store/secret", "store/vfs"}, []string{"github.com/prometheus", "github.com/emersion"}},
	}
	for _, rule := range rules {
		p, ok := all[module+"/"+rule.pkg]
		if !ok {
			t.Errorf("there is no package %s", rule.pkg)
			continue
		}
		for _, dep := range p.Deps {
			if ours(dep) && !slices.Contains(rule.ours, strings.TrimPrefix(dep, module+"/")) {
				t.Errorf("%s reaches %s", rule.pkg, dep)
			}
			for _, prefix := range rule.others {
				if dep == prefix || strings.HasPrefix(dep, prefix+"/") {
					t.Errorf("%s reaches %s", rule.pkg, dep)
				}
			}
		}
	}
}

// checkCmd holds the rule that only cmd knows cmd.
func checkCmd(t *testing.T, all map[string]goPackage) {
	cmd := module + "/cmd/"
	for path, p := range all {
		if !ours(path) || strings.HasPrefix(path, cmd) {
			continue
		}
		for _, dep := range p.Deps {
			if strings.HasPrefix(dep, cmd) {
				t.Errorf("%s reaches %s", path, dep)
			}
		}
	}
}

// checkPackages holds every package to a doc comment, no init function, and no package named for being useful.
func checkPackages(t *testing.T, all map[string]goPackage) {
	found := 0
	for path, p := range all {
		if !ours(path) || len(p.GoFiles) == 0 {
			continue
		}
		found++
		if p.Doc == "" {
			t.Errorf("%s has no doc comment", path)
		}
		if slices.Contains([]string{"util", "utils", "common", "helpers", "misc"}, filepath.Base(path)) {
			t.Errorf("%s is a package of leftovers", path)
		}
		for _, name := range p.GoFiles {
			checkFile(t, filepath.Join(p.Dir, name))
		}
	}
	if found < 10 {
		t.Errorf("only %d packages were looked at", found)
	}
}

// checkFile finds init functions and package variables that code could change. Sentinel errors are none, nor are the
// blank variables that assert an interface, nor byte slices of a literal, which Go has no constants for.
func checkFile(t *testing.T, path string) {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	for _, decl := range file.Decls {
		switch d := decl.(type) {
		case *ast.FuncDecl:
			if d.Recv == nil && d.Name.Name == "init" {
				t.Errorf("%s has an init function", path)
			}
		case *ast.GenDecl:
			for _, spec := range d.Specs {
				if v, ok := spec.(*ast.ValueSpec); ok && d.Tok == token.VAR && !allBytes(v) {
					checkNames(t, path, v)
				}
			}
		}
	}
}

func checkNames(t *testing.T, path string, v *ast.ValueSpec) {
	t.Helper()
	for _, name := range v.Names {
		if name.Name != "_" && !strings.HasPrefix(strings.ToLower(name.Name), "err") {
			t.Errorf("%s has the package variable %s", path, name.Name)
		}
	}
}

// allBytes tells whether every value is []byte("literal").
func allBytes(v *ast.ValueSpec) bool {
	for _, value := range v.Values {
		call, ok := value.(*ast.CallExpr)
		if !ok || len(call.Args) != 1 {
			return false
		}
		slice, isSlice := call.Fun.(*ast.ArrayType)
		_, isLiteral := call.Args[0].(*ast.BasicLit)
		if !isSlice || slice.Len != nil || !isLiteral {
			return false
		}
	}
	return len(v.Values) > 0
}
