package archtest

import (
	"fmt"
	"go/ast"
	"go/token"
	"go/types"
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestNoMutableState(t *testing.T) {
	for _, p := range loadTree(t) {
		for _, problem := range checkState(p) {
			t.Error(problem)
		}
	}
}

// constructors make values that nothing changes afterwards.
func constructors() []string {
	return []string{
		"errors.New", "fmt.Errorf",
		"netip.AddrFrom4", "netip.AddrFrom16", "netip.MustParseAddr", "netip.MustParsePrefix",
		"regexp.MustCompile", "strings.NewReplacer", "template.Must",
		"time.Date", "time.Unix",
	}
}

// checkState reports package-level variables that are, or may be, state: those
// that a function assigns to, those whose type can be changed in place, and
// those whose type comes from elsewhere and that no known constructor made.
// Imported packages are not loaded, so it is strict rather than exact.
func checkState(p *pkg) []string {
	info := &types.Info{Defs: map[*ast.Ident]types.Object{}, Uses: map[*ast.Ident]types.Object{}}
	config := types.Config{
		Importer:    emptyPackages{},
		Error:       func(error) {}, // nothing imported has a member
		FakeImportC: true,
	}
	var files []*ast.File
	for _, f := range p.code {
		files = append(files, f.ast)
	}
	// The error says what config.Error was told to ignore.
	_, _ = config.Check(module+"/"+p.dir, p.fset, files, info)

	assigned := assignments(files, info)
	var problems []string
	for _, v := range packageVars(files) {
		object := info.Defs[v.name]
		if v.name.Name == "_" || object == nil {
			continue // var _ Interface = T{}: a check at compile time
		}
		at := p.fset.Position(v.name.Pos())
		switch {
		case assigned[object]:
			problems = append(problems, fmt.Sprintf("%s: variable %s is assigned to in a function: pass it along instead", at, v.name.Name))
		case v.constructed() || v.embedded:
		default:
			if why := changeable(object.Type()); why != "" {
				problems = append(problems, fmt.Sprintf("%s: variable %s is %s: make it a function, an array or a constant", at, v.name.Name, why))
			}
		}
	}
	return problems
}

// emptyPackages imports every package as one without members.
type emptyPackages struct{}

func (emptyPackages) Import(importPath string) (*types.Package, error) {
	imported := types.NewPackage(importPath, path.Base(importPath))
	imported.MarkComplete()
	return imported, nil
}

// changeable says why a value of the type can be changed without assigning to
// the variable, or returns "".
func changeable(typ types.Type) string {
	switch u := typ.Underlying().(type) {
	case *types.Map:
		return "a map"
	case *types.Slice:
		return "a slice"
	case *types.Pointer:
		return "a pointer"
	case *types.Chan:
		return "a channel"
	case *types.Signature:
		return "a function that can be replaced"
	case *types.Array:
		return changeable(u.Elem())
	case *types.Struct:
		for field := range u.Fields() {
			if why := changeable(field.Type()); why != "" {
				return "a struct with " + why
			}
		}
	case *types.Basic:
		if u.Kind() == types.Invalid {
			return "of a type that may hold state"
		}
	}
	return ""
}

// A packageVar is one name of a package-level var declaration.
type packageVar struct {
	name     *ast.Ident
	value    ast.Expr // nil if it has none
	embedded bool     // its content comes from a go:embed directive
}

func packageVars(files []*ast.File) []packageVar {
	var vars []packageVar
	for _, f := range files {
		for _, decl := range f.Decls {
			gen, ok := decl.(*ast.GenDecl)
			if !ok || gen.Tok != token.VAR {
				continue
			}
			for _, s := range gen.Specs {
				spec, ok := s.(*ast.ValueSpec)
				if !ok {
					continue
				}
				for i, name := range spec.Names {
					v := packageVar{name: name, embedded: isEmbed(gen.Doc) || isEmbed(spec.Doc)}
					if len(spec.Values) == len(spec.Names) {
						v.value = spec.Values[i]
					}
					vars = append(vars, v)
				}
			}
		}
	}
	return vars
}

func isEmbed(doc *ast.CommentGroup) bool {
	return doc != nil && slices.ContainsFunc(doc.List, func(c *ast.Comment) bool {
		return strings.HasPrefix(c.Text, "//go:embed ")
	})
}

// constructed reports whether the value is a call of one of the constructors.
func (v packageVar) constructed() bool {
	call, ok := v.value.(*ast.CallExpr)
	if !ok {
		return false
	}
	sel, ok := call.Fun.(*ast.SelectorExpr)
	if !ok {
		return false
	}
	x, ok := sel.X.(*ast.Ident)
	return ok && slices.Contains(constructors(), x.Name+"."+sel.Sel.Name)
}

// assignments returns the variables that the bodies of functions assign to, in
// whole or in part, or take the address of.
func assignments(files []*ast.File, info *types.Info) map[types.Object]bool {
	assigned := map[types.Object]bool{}
	mark := func(e ast.Expr) {
		if name := base(e); name != nil {
			if object := info.Uses[name]; object != nil {
				assigned[object] = true
			}
		}
	}
	for _, f := range files {
		ast.Inspect(f, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.AssignStmt:
				for _, e := range n.Lhs {
					mark(e)
				}
			case *ast.IncDecStmt:
				mark(n.X)
			case *ast.RangeStmt:
				mark(n.Key)
				mark(n.Value)
			case *ast.UnaryExpr:
				if n.Op == token.AND {
					mark(n.X)
				}
			}
			return true
		})
	}
	return assigned
}

// base returns the variable that an operand is a part of, or nil.
func base(e ast.Expr) *ast.Ident {
	for {
		switch x := e.(type) {
		case *ast.Ident:
			return x
		case *ast.IndexExpr:
			e = x.X
		case *ast.ParenExpr:
			e = x.X
		case *ast.SelectorExpr:
			e = x.X
		case *ast.StarExpr:
			e = x.X
		default:
			return nil
		}
	}
}

func TestCheckState(t *testing.T) {
	state := func(line int, name, why string) []string {
		return []string{fmt.Sprintf("p/a.go:%d:5: variable %s is %s", line, name, why)}
	}
	const instead = ": make it a function, an array or a constant"
	cases := []struct {
		name, src string
		want      []string
	}{
		{"error", `import "errors"; var errX = errors.New("x")`, nil},
		{"errors in a group", `import "errors"; var (errX = errors.New("x"); errY = errors.New("y"))`, nil},
		{"regexp", `import "regexp"; var re = regexp.MustCompile("x")`, nil},
		{"template", `import "html/template"; var page = template.Must(template.New("x"), nil)`, nil},
		{"embedded files", "import \"embed\"\n//go:embed x\nvar files embed.FS", nil},
		{"embedded bytes", "import _ \"embed\"\n//go:embed x\nvar style []byte", nil},
		{"interface check", `import "io"; var _ io.Writer = (*t)(nil); type t struct{}`, nil},
		{"string", `var version = "1"`, nil},
		{"array", `var names = [...]string{"a"}`, nil},
		{"struct of values", `type t struct{ n int }; var x = t{1}`, nil},
		{"a local one of the same name is assigned", "var n = 1\nfunc f() { n := 2; n++; n = 3 }", nil},
		{"map", "\nvar m = map[string]int{}", state(3, "m", "a map"+instead)},
		{"slice", "\nvar s = []string{}", state(3, "s", "a slice"+instead)},
		{"pointer", "\nvar x = &t{}; type t struct{}", state(3, "x", "a pointer"+instead)},
		{"named map", "\nvar m set; type set map[string]bool", state(3, "m", "a map"+instead)},
		{"array of slices", "\nvar s [2][]int", state(3, "s", "a slice"+instead)},
		{"struct with a map", "\nvar x t; type t struct{ m map[int]int }", state(3, "x", "a struct with a map"+instead)},
		{"hook", "\nvar f = func() {}", state(3, "f", "a function that can be replaced"+instead)},
		{"mutex", "import \"sync\"\nvar mu sync.Mutex", state(3, "mu", "of a type that may hold state"+instead)},
		{"unknown constructor", "import \"log/slog\"\nvar l = slog.Default()", state(3, "l", "of a type that may hold state"+instead)},
		{"assigned", "\nvar n int\nfunc f() { n = 1 }", state(3, "n", "assigned to in a function: pass it along instead")},
		{"counted", "\nvar n int\nfunc f() { n++ }", state(3, "n", "assigned to in a function: pass it along instead")},
		{"element assigned", "\nvar a [2]int\nfunc f() { a[0] = 1 }", state(3, "a", "assigned to in a function: pass it along instead")},
		{"field assigned", "\nvar x t; type t struct{ n int }\nfunc f() { x.n = 1 }", state(3, "x", "assigned to in a function: pass it along instead")},
		{"address taken", "\nvar n int\nfunc f() *int { return &n }", state(3, "n", "assigned to in a function: pass it along instead")},
		{"error replaced", "import \"errors\"\nvar errX = errors.New(\"x\")\nfunc f() { errX = nil }", state(3, "errX", "assigned to in a function: pass it along instead")},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			p := parse(t, "p", map[string]string{"a.go": "package p\n" + c.src})
			if diff := cmp.Diff(c.want, checkState(p)); diff != "" {
				t.Errorf("problems (-want +got):\n%s", diff)
			}
		})
	}
	t.Run("assigned in another file", func(t *testing.T) {
		p := parse(t, "p", map[string]string{"a.go": "package p\n\nvar n int", "b.go": "package p\nfunc f() { n = 1 }"})
		if diff := cmp.Diff(state(3, "n", "assigned to in a function: pass it along instead"), checkState(p)); diff != "" {
			t.Errorf("problems (-want +got):\n%s", diff)
		}
	})
}
