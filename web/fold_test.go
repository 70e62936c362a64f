package web

import (
	"html/template"
	"testing"
)

func TestFolded(t *testing.T) {
	const begin, log = `<h1>Report</h1>`, `<div class="r-log"><div class="r-line">one</div></div>`
	for _, c := range []struct{ name, whole, want string }{
		{"nothing", "", ""},
		{"no section", begin + log, begin + log},
		{"no log", begin + `<h2 class="r-h2">A</h2><p>a</p><h2 class="r-h2">B</h2><p>b</p>`, begin + `<h2 class="r-h2">A</h2><p>a</p><h2 class="r-h2">B</h2><p>b</p>`},
		{
			"a log in between", begin + `<h2 class="r-h2">A</h2><p>a</p><h2 class="r-h2">B</h2>` + log + `<h2 class="r-h2">C</h2><p>c</p>`,
			begin + `<h2 class="r-h2">A</h2><p>a</p><details class="fold"><summary><h2 class="r-h2">B</h2></summary>` + log + "</details>\n" + `<h2 class="r-h2">C</h2><p>c</p>`,
		},
		{"a log at the end", `<h2 class="r-h2">B</h2>` + log, `<details class="fold"><summary><h2 class="r-h2">B</h2></summary>` + log + "</details>\n"},
	} {
		if got := folded(template.HTML(c.whole)); string(got) != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
}
