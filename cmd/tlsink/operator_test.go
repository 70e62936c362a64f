package main

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/tlsink/tlsink/operate"
)

// asks runs a command on the running sink and returns everything it said.
func (p *process) asks(t *testing.T, args ...string) (stdout, stderr string, status int) {
	t.Helper()
	return runCLI(t, "", append(args, "--config", p.config)...)
}

func TestOperatorsCommands(t *testing.T) {
	t.Parallel()
	p := start(t, newSettings(t))
	p.connect(t, "mta.sender.example").mail("a@sender.example", "en@et.sink.example", mailText("a@sender.example", "1@sender.example"))
	p.connect(t, "mta.other.example").mail("b@other.example", "en@et.sink.example", mailText("b@other.example", "2@other.example"))
	id := p.tests(t)[1].ID
	for _, c := range []struct {
		args []string
		want []string
		not  string
	}{
		{[]string{"tests", "list"}, []string{"a@sender.example", "b@other.example", "running"}, "\x1b"},
		{[]string{"tests", "search", "--domain", "sender.example", "--state", "open", "--from", "1h"}, []string{"a@sender.example"}, "b@other.example"},
		{[]string{"tests", "search", "--network", "127.0.0.0/8", "--slot", "0"}, []string{"a@sender.example", "b@other.example"}, "\x1b"},
		{[]string{"tests", "search", "--address", "A@SENDER.example", "--json"}, []string{`"sender":"a@sender.example"`}, "b@other.example"},
		{[]string{"tests", "show", id}, []string{id, "<a@sender.example>", "<1@sender.example>", "1 connections", "127.0.0.1/32"}, "b@other.example"},
		{[]string{"tests", "show", "--json", strings.ToLower(id)}, []string{`"connections":1`}, "b@other.example"},
		{[]string{"tests", "why", id}, []string{"by mail", "Message-ID and envelope sender are those of the test"}, "\x1b"},
		{[]string{"history", "why", "--json", id}, []string{`"by":"mail"`}, "\x1b"},
		{[]string{"history", "transcript", id}, []string{"EHLO mta.sender.example", "MAIL FROM:<a@sender.example>", "message <1@sender.example>", "STARTTLS withheld"}, "b@other.example"},
		{[]string{"tests", "export", id}, []string{`{"type":"test"`, `"type":"connection"`}, "b@other.example"},
		{[]string{"tests", "export", "--format", "csv", "--domain", "sender.example"}, []string{"test,started", "a@sender.example"}, "b@other.example"},
		{[]string{"history", "connections", "--network", "127.0.0.1"}, []string{"mta.sender.example", id}, "\x1b"},
		{[]string{"queue", "--json"}, []string{"[]"}, "null"},
		{[]string{"queue", "limits", "--json"}, []string{"["}, "null"},
		{[]string{"blocks", "--json"}, []string{"[]"}, "null"},
		{[]string{"actions", "--json"}, []string{"[]"}, "null"},
		{[]string{"slots", "--json"}, []string{"["}, "null"},
		{[]string{"queue", "webhooks", "--json"}, []string{"[]"}, "null"},
		{[]string{"purge", "--dry-run"}, []string{"30 days", "tests", "2, the oldest of"}, "deleted"},
		{[]string{"purge", "--yes"}, []string{"0 tests and connections deleted"}, "\x1b"},
		{[]string{"forget", "--dry-run", "a@sender.example"}, []string{"1 test, 0 reports"}, "deleted"},
	} {
		stdout, stderr, status := p.asks(t, c.args...)
		for _, w := range c.want {
			if status != 0 || !strings.Contains(stdout, w) || strings.Contains(stdout, c.not) {
				t.Errorf("tlsink %s: status %d, does not say %q or does say %q:\n%s%s", strings.Join(c.args, " "), status, w, c.not, stdout, stderr)
			}
		}
	}
	if out := p.ask(t, "tests", "delete", "--yes", id); !strings.Contains(out, id+": ") {
		t.Errorf("tests delete printed %q", out)
	}
	if list := p.tests(t); len(list) != 1 || list[0].ID == id {
		t.Errorf("after the deletion: %+v", list)
	}
	var actions []operate.AuditRecord
	if err := json.Unmarshal([]byte(p.ask(t, "actions", "--json")), &actions); err != nil || len(actions) != 2 || actions[0].Action != "test deleted" || actions[0].Object != id || actions[0].Actor.Kind != "cli" {
		t.Errorf("%+v %v", actions, err)
	}
	if n := strings.Count(p.log.text(), `"operator's action"`); n != 2 {
		t.Errorf("%d log entries of 2 actions", n)
	}
}

// Commands that are about nothing, or make no sense, fail and say why.
func TestOperatorsMistakes(t *testing.T) {
	t.Parallel()
	p := start(t, newSettings(t))
	for want, list := range map[string][][]string{
		"not found": {
			{"tests", "show", "NOSUCH"},
			{"tests", "why", "../x"},
			{"tests", "delete", "--yes", "NOSUCH"},
			{"tests", "export", "NOSUCH"},
			{"history", "transcript", "NOSUCH"},
			{"history", "connection", "a\x1bb"},
			{"queue", "retry", "NOSUCH"},
			{"queue", "drop", "NOSUCH"},
			{"blocks", "remove", "NOSUCH"},
		},
		"want an IP address": {{"tests", "search", "--network", "x"}, {"blocks", "add", "--reason", "x", "a b"}, {"history", "connections", "--network", "1.2.3.4/99"}},
		"is no verdict":      {{"tests", "search", "--verdict", "best"}},
		"want one of":        {{"tests", "search", "--state", "odd"}},
		"want a time":        {{"tests", "export", "--from", "yesterday"}},
		"start again":        {{"tests", "list", "--cursor", "x"}},
		"very many":          {{"blocks", "add", "--reason", "x", "0.0.0.0/0"}},
		"at most 120":        {{"blocks", "add", "--reason", strings.Repeat("x", 200), "192.0.2.1"}},
		"--yes":              {{"purge"}, {"tests", "delete", "NOSUCH"}},
		"want an age":        {{"purge", "--yes", "--older-than", "soon"}, {"purge", "--yes", "--older-than", "2026-11-22"}},
		"not both":           {{"tests", "export", "--domain", "x.example", "T"}},
	} {
		for _, args := range list {
			stdout, stderr, status := p.asks(t, args...)
			if status != 1 || !strings.Contains(stderr, want) || stdout != "" {
				t.Errorf("tlsink %s: status %d, does not say %q: %s%s", strings.Join(args, " "), status, want, stdout, stderr)
			}
		}
	}
	if _, stderr, _ := p.asks(t, "tests", "search", "--domain", "nobody.example"); stderr != "no test matches\n" {
		t.Errorf("a search that finds nothing says %q", stderr)
	}
	if strings.Contains(p.log.text(), "operator's action") {
		t.Errorf("something that failed was logged as done:\n%s", p.log.text())
	}
}

// A sender that is blocked gets a permanent refusal and no test; a restart does
// not change that, and removing the block does.
func TestBlockedSender(t *testing.T) {
	t.Parallel()
	s := newSettings(t)
	p := start(t, s)
	out := p.ask(t, "blocks", "add", "spam.example", "--reason", "floods \x1b[2J us", "--for", "1h")
	id, _, _ := strings.Cut(out, ":")
	mail := func(p *process, from string) int {
		code, _ := p.connect(t, "mta.example").mail(from, "en@et.sink.example", mailText(from, from))
		return code
	}
	for _, q := range []*process{p, nil} {
		if q == nil {
			p.stop(t)
			p = start(t, s)
			q = p
		}
		got := []int{mail(q, "a@mail.spam.example"), mail(q, "a@good.example")}
		if !slices.Equal(got, []int{550, 451}) {
			t.Errorf("replies %v: want 550 to whom is blocked, 451 to others", got)
		}
		if slices.ContainsFunc(q.tests(t), func(r operate.TestRow) bool { return strings.Contains(r.Sender, "spam") }) {
			t.Error("a blocked sender has a test")
		}
	}
	if list := p.ask(t, "blocks"); !strings.Contains(list, id) || !strings.Contains(list, "spam.example") || strings.Contains(list, "\x1b") {
		t.Errorf("blocks: %q", list)
	}
	p.ask(t, "blocks", "remove", id)
	if code := mail(p, "b@spam.example"); code != 451 {
		t.Errorf("reply %d after the block was removed", code)
	}
}

// What strangers wrote cannot steer a terminal, also not in JSON and exports,
// and means the same to programs.
func TestOperatorsOutputIsPlain(t *testing.T) {
	t.Parallel()
	p := start(t, newSettings(t))
	const hello = "evil\x1b[31m\u009b2J\u202e.example"
	c := p.connect(t, hello)
	c.mail(`"=1+1\x1b[2J"@sender.example`, "en@et.sink.example", mailText("a@sender.example", "1\x1b[2J@sender.example"))
	id := p.tests(t)[0].ID
	for _, args := range [][]string{
		{"tests", "list"},
		{"tests", "list", "--json"},
		{"tests", "show", id},
		{"tests", "show", "--json", id},
		{"tests", "why", id},
		{"tests", "export", id},
		{"history", "export", id},
		{"tests", "export", "--format", "csv"},
		{"history", "transcript", id},
		{"history", "transcript", "--json", id},
		{"history", "connections"},
		{"history", "connections", "--json"},
	} {
		out := p.ask(t, args...)
		for _, bad := range []string{"\x1b", "\u009b", "\u202e", "\x07"} {
			if strings.Contains(out, bad) {
				t.Errorf("tlsink %s prints %q:\n%s", strings.Join(args, " "), bad, around(out, bad))
			}
		}
	}
	if h := p.export(t, id); len(h.Connections) != 1 || len(h.Connections[0].Helo) != 1 {
		t.Errorf("history: %+v", h.Connections)
	}
}
