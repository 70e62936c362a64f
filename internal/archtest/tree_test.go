package archtest

import (
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// module is the path of the module under test, as in go.mod.
const module = "github.com/tlsink/tlsink"

// A pkg is one directory of Go files.
type pkg struct {
	dir   string // relative to the module, with slashes; "." at its root
	fset  *token.FileSet
	code  []file // what is built into the program
	tests []file // _test.go, of the package and of its external test package
}

// A file is one parsed Go file.
type file struct {
	name string // relative to the module, with slashes
	ast  *ast.File
}

// imports returns what the files import, sorted, each once.
func imports(files []file) []string {
	var paths []string
	for _, f := range files {
		for _, spec := range f.ast.Imports {
			if p, err := strconv.Unquote(spec.Path.Value); err == nil {
				paths = append(paths, p)
			}
		}
	}
	slices.Sort(paths)
	return slices.Compact(paths)
}

// inProject cuts the module from an import path, and says whether it was there.
func inProject(importPath string) (dir string, ok bool) {
	if importPath == module {
		return ".", true
	}
	return strings.CutPrefix(importPath, module+"/")
}

// loadTree parses the module that holds the working directory.
func loadTree(t *testing.T) []*pkg {
	t.Helper()
	root := moduleRoot(t)
	pkgs := map[string]*pkg{}
	err := filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if name != root && skipDir(name) {
				return filepath.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(name, ".go") {
			return nil
		}
		rel, err := filepath.Rel(root, name)
		if err != nil {
			return err
		}
		rel = filepath.ToSlash(rel)
		src, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		dir := path.Dir(rel)
		if pkgs[dir] == nil {
			pkgs[dir] = &pkg{dir: dir, fset: token.NewFileSet()}
		}
		return pkgs[dir].add(rel, src)
	})
	if err != nil {
		t.Fatalf("load the source tree: %v", err)
	}
	var sorted []*pkg
	for _, p := range pkgs {
		sorted = append(sorted, p)
	}
	slices.SortFunc(sorted, func(a, b *pkg) int { return strings.Compare(a.dir, b.dir) })
	return sorted
}

// add parses a file into the package.
func (p *pkg) add(name string, src []byte) error {
	parsed, err := parser.ParseFile(p.fset, name, src, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return err
	}
	switch {
	case ast.IsGenerated(parsed):
	case strings.HasSuffix(name, "_test.go"):
		p.tests = append(p.tests, file{name, parsed})
	default:
		p.code = append(p.code, file{name, parsed})
	}
	return nil
}

// skipDir tells the directories that the go command leaves out of ./...
func skipDir(dir string) bool {
	base := filepath.Base(dir)
	if base == "testdata" || base == "vendor" || base[0] == '.' || base[0] == '_' {
		return true
	}
	_, err := os.Stat(filepath.Join(dir, "go.mod"))
	return err == nil
}

func moduleRoot(t *testing.T) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatalf("find the module: %v", err)
	}
	for {
		_, err := os.Stat(filepath.Join(dir, "go.mod"))
		if err == nil {
			return dir
		}
		parent := filepath.Dir(dir)
		if !errors.Is(err, fs.ErrNotExist) || parent == dir {
			t.Fatalf("find the module: no go.mod above the working directory: %v", err)
		}
		dir = parent
	}
}

// parse makes a package of sources that a test wrote out.
func parse(t *testing.T, dir string, sources map[string]string) *pkg {
	t.Helper()
	p := &pkg{dir: dir, fset: token.NewFileSet()}
	for name, src := range sources {
		if err := p.add(path.Join(dir, name), []byte(src)); err != nil {
			t.Fatalf("parse %s: %v", name, err)
		}
	}
	return p
}
