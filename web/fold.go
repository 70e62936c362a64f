package web

import (
	"html/template"
	"strings"
)

// folded closes the sections of a report that list connections line by line: on a
// phone they are half of it, and the page has its own list. What strangers wrote
// is escaped, so it cannot look like a heading.
func folded(whole template.HTML) template.HTML {
	const heading, end, log = `<h2 class="r-h2">`, "</h2>", `<div class="r-log">`
	sections := strings.Split(string(whole), heading)
	for i, section := range sections[1:] {
		title, body, _ := strings.Cut(section, end)
		section = heading + section
		if strings.Contains(body, log) {
			section = `<details class="fold"><summary>` + heading + title + end + "</summary>" + body + "</details>\n"
		}
		sections[i+1] = section
	}
	return template.HTML(strings.Join(sections, ""))
}
