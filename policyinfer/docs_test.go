package policyinfer_test

import (
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/tlsink/tlsink/policyinfer"
)

// The page for admins explains each policy, part and finding, nothing that
// does not exist, and its links lead somewhere.
func TestDocsExplainEveryVerdict(t *testing.T) {
	b, err := os.ReadFile(filepath.Join("..", "docs", "verdicts.md"))
	if err != nil {
		t.Fatal(err)
	}
	page := string(b)
	want := policyinfer.FindingIDs()
	for _, n := range append(policyinfer.Names(), policyinfer.Undetermined, policyinfer.Mixed) {
		want = append(want, string(n))
	}
	var got, anchors []string
	for _, m := range regexp.MustCompile("(?m)^### `(.*)`$").FindAllStringSubmatch(page, -1) {
		got = append(got, m[1])
	}
	for _, id := range want {
		if !slices.Contains(got, id) {
			t.Errorf("no section explains %s", id)
		}
	}
	for i, id := range got {
		if !slices.Contains(want, id) || slices.Contains(got[:i], id) {
			t.Errorf("section %s is about nothing, or there twice", id)
		}
	}
	for _, f := range reflect.VisibleFields(reflect.TypeFor[policyinfer.Sender]()) {
		if part := f.Tag.Get("json"); !strings.Contains(page, "\n| `"+part+"` |") {
			t.Errorf("part %s is not in the table of parts", part)
		}
	}
	for _, m := range regexp.MustCompile(`(?m)^#+ (.*)$`).FindAllStringSubmatch(page, -1) {
		anchor := regexp.MustCompile("[^a-z0-9 -]").ReplaceAllString(strings.ToLower(m[1]), "")
		anchors = append(anchors, strings.ReplaceAll(anchor, " ", "-"))
	}
	for _, m := range regexp.MustCompile(`\]\(#([^)]*)\)`).FindAllStringSubmatch(page, -1) {
		if !slices.Contains(anchors, m[1]) {
			t.Errorf("link to #%s leads nowhere", m[1])
		}
	}
}
