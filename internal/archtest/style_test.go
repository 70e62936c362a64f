package archtest

import (
	"fmt"
	"go/ast"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// limits in lines of code that is not a test; both may just be reached.
type limits struct{ file, function int }

func houseLimits() limits { return limits{file: 500, function: 80} }

func TestPackageComments(t *testing.T) {
	for _, p := range loadTree(t) {
		for _, problem := range checkComment(p) {
			t.Error(problem)
		}
	}
}

func TestSizes(t *testing.T) {
	for _, p := range loadTree(t) {
		for _, problem := range checkSizes(p, houseLimits()) {
			t.Error(problem)
		}
	}
}

func TestNoInit(t *testing.T) {
	for _, p := range loadTree(t) {
		for _, problem := range checkInit(p) {
			t.Error(problem)
		}
	}
}

// checkComment wants a package comment, in code if there is any.
func checkComment(p *pkg) []string {
	files := p.code
	if len(files) == 0 {
		files = p.tests
	}
	for _, f := range files {
		if f.ast.Doc != nil {
			return nil
		}
	}
	if len(files) == 0 {
		return nil // generated files only
	}
	return []string{fmt.Sprintf("package %s has no package comment: add a doc.go", p.dir)}
}

func checkSizes(p *pkg, max limits) []string {
	var problems []string
	for _, f := range p.code {
		if n := p.lines(f); n > max.file {
			problems = append(problems, fmt.Sprintf("%s has %d lines, more than %d: split it by topic", f.name, n, max.file))
		}
		for _, decl := range f.ast.Decls {
			fn, ok := decl.(*ast.FuncDecl)
			if !ok {
				continue
			}
			start := p.fset.Position(fn.Pos())
			if n := p.fset.Position(fn.End()).Line - start.Line + 1; n > max.function {
				problems = append(problems, fmt.Sprintf("%s: function %s has %d lines, more than %d", start, fn.Name.Name, n, max.function))
			}
		}
	}
	return problems
}

// lines counts as wc does, and a last line without a newline too.
func (p *pkg) lines(f file) int {
	end := p.fset.Position(f.ast.FileEnd)
	if end.Column == 1 {
		return end.Line - 1
	}
	return end.Line
}

func checkInit(p *pkg) []string {
	var problems []string
	for _, f := range p.code {
		for _, decl := range f.ast.Decls {
			if fn, ok := decl.(*ast.FuncDecl); ok && fn.Recv == nil && fn.Name.Name == "init" {
				problems = append(problems, fmt.Sprintf("%s: init function: wire it up where it is used", p.fset.Position(fn.Pos())))
			}
		}
	}
	return problems
}

func TestCheckStyle(t *testing.T) {
	small := limits{file: 6, function: 3}
	check := func(p *pkg) []string {
		problems := checkComment(p)
		problems = append(problems, checkSizes(p, small)...)
		return append(problems, checkInit(p)...)
	}
	cases := []struct {
		name    string
		sources map[string]string
		want    []string
	}{
		{"fine", map[string]string{"a.go": "// Package p is.\npackage p\n\nfunc f() {\n\tf()\n}"}, nil},
		{"comment in another file", map[string]string{"a.go": "package p", "doc.go": "// Package p is.\npackage p"}, nil},
		{"comment in a test", map[string]string{"a.go": "package p", "a_test.go": "// Package p is.\npackage p"}, []string{"package p has no package comment: add a doc.go"}},
		{"tests only", map[string]string{"a_test.go": "// Package p is.\npackage p"}, nil},
		{"detached comment", map[string]string{"a.go": "// Package p is.\n\npackage p"}, []string{"package p has no package comment: add a doc.go"}},
		{"long file", map[string]string{"a.go": "// Package p is.\npackage p\n\n\n\n\nconst c = 1"}, []string{"p/a.go has 7 lines, more than 6: split it by topic"}},
		{"longest file", map[string]string{"a.go": "// Package p is.\npackage p\n\n\n\nconst c = 1\n"}, nil},
		{"long function", map[string]string{"a.go": "// Package p is.\npackage p\nfunc f() {\n\n\n}"}, []string{"p/a.go:3:1: function f has 4 lines, more than 3"}},
		{"long test", map[string]string{"a.go": "// Package p is.\npackage p", "a_test.go": "package p\nfunc f() {\n\n\n\n\n\n}"}, nil},
		{"init", map[string]string{"a.go": "// Package p is.\npackage p\nfunc init() {}"}, []string{"p/a.go:3:1: init function: wire it up where it is used"}},
		{"method called init", map[string]string{"a.go": "// Package p is.\npackage p\ntype t int\nfunc (t) init() {}"}, nil},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			if diff := cmp.Diff(c.want, check(parse(t, "p", c.sources))); diff != "" {
				t.Errorf("problems (-want +got):\n%s", diff)
			}
		})
	}
}
