package archtest

import (
	"fmt"
	"go/ast"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// anything, as the only entry of a row, allows every package of the project.
const anything = "*"

// importTable says, for each package, which packages of this project its code
// may import. A package that is not here fails the test: add it, and give it
// the fewest imports that it can live with.
func importTable() map[string][]string {
	leaves := []string{"scenario", "evidence", "dnssec", "tlspolicy"}
	and := func(more ...string) []string { return append(slices.Clone(leaves), more...) }
	return map[string][]string{
		"scenario":  {},
		"evidence":  {},
		"dnssec":    {},
		"tlspolicy": {"dnssec"},

		"policyinfer": {"scenario", "evidence"},

		"certs":      and("internal/durable"),
		"certs/acme": leaves,
		"doctor":     leaves,
		"deliver":    leaves,
		"history":    and("internal/durable"),
		"mailauth":   and("arc", "dmarc", "received"),
		"mxrotator":  leaves,
		"sink":       and("sink/internal/wire"),
		"zones":      and("zones/internal/records", "internal/durable"),

		// External DNS: providers, and what is published through them.
		"zones/rfc2136":         {"zones/internal/records"},
		"zones/desec":           {"zones/internal/records"},
		"zones/desec/desectest": {},
		"zones/external":        and("zones/internal/records"),
		"zones/propagation":     and("zones/internal/records"),
		"zones/providertest":    {},

		// Analysis of the sender's domain as a receiver.
		"inbound":         and("inbound/check", "inbound/network", "inbound/probe", "inbound/records"),
		"inbound/check":   {},
		"inbound/network": {},
		"inbound/probe":   {"inbound/check"},
		"inbound/records": and("inbound/check", "dmarc"),
		"rating":          and("inbound", "inbound/check", "inbound/network", "inbound/probe", "inbound/records"),

		// Message authentication.
		"dmarc":    leaves,
		"arc":      leaves,
		"received": leaves,

		// assess is the sink's Director and keeps its tests in the history.
		"assess": and("policyinfer", "mailauth", "history", "sink"),
		"report": and("policyinfer", "dmarc", "arc", "received", "rating", "inbound", "inbound/check", "inbound/network", "inbound/probe", "inbound/records"),
		"mailer": and("deliver", "internal/durable"),
		"web":    and("policyinfer", "report", "inbound", "rating", "live"),

		// A test as people follow it, and those who do.
		"lease":      leaves,
		"live":       and("policyinfer", "report", "inbound", "rating"),
		"api":        and("policyinfer", "report", "live"),
		"client":     {"scenario", "evidence", "live"},
		"webhook":    leaves,
		"blocklist":  leaves,
		"operate":    and("policyinfer", "report", "history", "blocklist"),
		"console":    and("policyinfer", "report", "history", "blocklist", "operate"),
		"statistics": {"policyinfer"},

		"metrics": {},

		// Settings take their defaults from the packages that they are for.
		"config": {"scenario", "assess", "certs", "certs/acme", "inbound/network", "webhook", "zones"},

		// Commands that need nothing of the wiring. They may meet the service at its
		// control socket and its API only.
		"cmd/tlsink/internal/cli":         {"policyinfer"},
		"cmd/tlsink/internal/control":     {"cmd/tlsink/internal/cli", "config", "history", "operate", "policyinfer"},
		"cmd/tlsink/internal/backups":     {"cmd/tlsink/internal/cli", "cmd/tlsink/internal/control", "config", "history", "internal/durable"},
		"cmd/tlsink/internal/domaincheck": {"cmd/tlsink/internal/cli", "config", "dnssec", "inbound", "inbound/check", "inbound/network", "inbound/probe", "inbound/records", "rating"},
		"cmd/tlsink/internal/follow":      {"cmd/tlsink/internal/cli", "cmd/tlsink/internal/control", "config", "scenario", "evidence", "policyinfer", "client", "live"},
		"cmd/tlsink/internal/headers":     {"cmd/tlsink/internal/cli", "dnssec", "evidence", "mailauth", "received"},
		"cmd/tlsink/internal/operators":   {"cmd/tlsink/internal/cli", "cmd/tlsink/internal/control", "config", "certs", "console", "evidence", "history", "operate", "internal/durable"},

		"cmd/tlsink": {anything},
		"lab":        {anything},

		"packaging":     {}, // tests only
		"packaging/deb": {},

		"sink/internal/wire":     {"evidence"},
		"zones/internal/records": {},
		"zones/internal/realdns": {},
		"internal/archtest":      {},
		"internal/durable":       {},
		"internal/memnet":        {},
		"internal/pace":          and("policyinfer", "mxrotator", "assess"),
	}
}

// apart lists pairs that may not know each other even in tests. deliver is the
// sender that policyinfer is tried on: with shared code the trial proves nothing.
func apart() [][2]string {
	return [][2]string{{"deliver", "policyinfer"}}
}

func TestImportDirections(t *testing.T) {
	for _, p := range loadTree(t) {
		for _, problem := range checkImports(p, importTable()) {
			t.Error(problem)
		}
		for _, problem := range checkApart(p, apart()) {
			t.Error(problem)
		}
	}
}

func TestInferenceIsPure(t *testing.T) {
	for _, p := range loadTree(t) {
		if p.dir != "policyinfer" {
			continue
		}
		for _, problem := range checkPure(p) {
			t.Error(problem)
		}
	}
}

func checkImports(p *pkg, table map[string][]string) []string {
	allowed, ok := table[p.dir]
	if !ok {
		return []string{fmt.Sprintf("package %s is not in the table of import directions: add it to importTable in internal/archtest/imports_test.go and to ARCHITECTURE.md", p.dir)}
	}
	var problems []string
	for _, importPath := range imports(p.code) {
		dir, ok := inProject(importPath)
		if !ok || slices.Contains(allowed, anything) || slices.Contains(allowed, dir) {
			continue
		}
		problems = append(problems, fmt.Sprintf("%s imports %s; of this project it may import only %v (importTable in internal/archtest/imports_test.go)", p.dir, dir, allowed))
	}
	return problems
}

func checkApart(p *pkg, pairs [][2]string) []string {
	var problems []string
	for _, pair := range pairs {
		for i, one := range pair {
			other := pair[1-i]
			if p.dir == one && slices.Contains(imports(slices.Concat(p.code, p.tests)), module+"/"+other) {
				problems = append(problems, fmt.Sprintf("%s imports %s: these two may share nothing, not even in tests", one, other))
			}
		}
	}
	return problems
}

// checkPure reports what would make a result depend on more than the arguments.
func checkPure(p *pkg) []string {
	impure := []string{"C", "crypto/rand", "io/fs", "log", "math/rand", "math/rand/v2", "net", "os", "path/filepath", "plugin", "runtime", "syscall", "unsafe"}
	below := []string{"database/", "log/", "net/", "os/", "runtime/"}
	values := []string{"net/netip", "net/textproto", "net/url"} // work on values alone
	var problems []string
	for _, importPath := range imports(p.code) {
		first, _, _ := strings.Cut(importPath, "/")
		_, project := inProject(importPath)
		switch {
		case slices.Contains(values, importPath) || project:
		case strings.Contains(first, "."):
			problems = append(problems, fmt.Sprintf("%s imports %s: only the standard library is allowed here", p.dir, importPath))
		case slices.Contains(impure, importPath),
			slices.ContainsFunc(below, func(prefix string) bool { return strings.HasPrefix(importPath, prefix) }):
			problems = append(problems, fmt.Sprintf("%s imports %s: it must work from its arguments alone", p.dir, importPath))
		}
	}
	return append(problems, checkClock(p)...)
}

func checkClock(p *pkg) []string {
	clock := []string{"After", "AfterFunc", "NewTicker", "NewTimer", "Now", "Since", "Sleep", "Tick", "Until"}
	var problems []string
	for _, f := range p.code {
		ast.Inspect(f.ast, func(n ast.Node) bool {
			sel, ok := n.(*ast.SelectorExpr)
			if !ok {
				return true
			}
			if x, ok := sel.X.(*ast.Ident); ok && x.Name == "time" && slices.Contains(clock, sel.Sel.Name) {
				problems = append(problems, fmt.Sprintf("%s: time.%s: it must take its times from its arguments", p.fset.Position(sel.Pos()), sel.Sel.Name))
			}
			return true
		})
	}
	return problems
}

func TestCheckImports(t *testing.T) {
	table := map[string][]string{"low": {}, "mid": {"low"}, "top": {anything}}
	importing := func(dirs ...string) string {
		var src strings.Builder
		src.WriteString("package p\n")
		for _, d := range dirs {
			fmt.Fprintf(&src, "import _ %q\n", d)
		}
		return src.String()
	}
	const where = "(importTable in internal/archtest/imports_test.go)"
	cases := []struct {
		name, dir string
		sources   map[string]string
		want      []string
	}{
		{"nothing imported", "low", map[string]string{"a.go": importing()}, nil},
		{"standard library and others", "low", map[string]string{"a.go": importing("net", "example.org/x")}, nil},
		{"allowed", "mid", map[string]string{"a.go": importing(module + "/low")}, nil},
		{"anything", "top", map[string]string{"a.go": importing(module+"/low", module+"/mid")}, nil},
		{
			"upwards", "low",
			map[string]string{"a.go": importing(), "b.go": importing(module + "/mid")},
			[]string{"low imports mid; of this project it may import only [] " + where},
		},
		{
			"below an allowed one", "mid",
			map[string]string{"a.go": importing(module + "/low/x")},
			[]string{"mid imports low/x; of this project it may import only [low] " + where},
		},
		{"upwards in a test", "low", map[string]string{"a_test.go": importing(module + "/top")}, nil},
		{
			"unlisted", "new",
			map[string]string{"a.go": importing()},
			[]string{"package new is not in the table of import directions: add it to importTable in internal/archtest/imports_test.go and to ARCHITECTURE.md"},
		},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			if diff := cmp.Diff(c.want, checkImports(parse(t, c.dir, c.sources), table)); diff != "" {
				t.Errorf("problems (-want +got):\n%s", diff)
			}
		})
	}
}

func TestCheckApart(t *testing.T) {
	src := "package p\nimport _ \"" + module + "/two\"\n"
	pairs := [][2]string{{"one", "two"}}
	want := []string{"one imports two: these two may share nothing, not even in tests"}
	for _, name := range []string{"a.go", "a_test.go"} {
		if diff := cmp.Diff(want, checkApart(parse(t, "one", map[string]string{name: src}), pairs)); diff != "" {
			t.Errorf("%s: problems (-want +got):\n%s", name, diff)
		}
	}
	if got := checkApart(parse(t, "three", map[string]string{"a.go": src}), pairs); got != nil {
		t.Errorf("a package outside the pair: %q", got)
	}
}

func TestCheckPure(t *testing.T) {
	cases := []struct {
		name, src string
		want      []string
	}{
		{"values only", "package p\nimport (_ \"net/netip\"; \"time\"; _ \"" + module + "/evidence\")\nconst d = time.Second", nil},
		{"network", "package p\nimport _ \"net\"", []string{"p imports net: it must work from its arguments alone"}},
		{"below network", "package p\nimport _ \"net/http\"", []string{"p imports net/http: it must work from its arguments alone"}},
		{"another module", "package p\nimport _ \"golang.org/x/net\"", []string{"p imports golang.org/x/net: only the standard library is allowed here"}},
		{"clock", "package p\nimport \"time\"\nfunc f() time.Time { return time.Now() }", []string{"p/a.go:3:29: time.Now: it must take its times from its arguments"}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			if diff := cmp.Diff(c.want, checkPure(parse(t, "p", map[string]string{"a.go": c.src}))); diff != "" {
				t.Errorf("problems (-want +got):\n%s", diff)
			}
		})
	}
}
