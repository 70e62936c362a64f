package report_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/tlsink/tlsink/evidence"
	"github.com/tlsink/tlsink/policyinfer"
	"github.com/tlsink/tlsink/report"
)

const histories = "../policyinfer/testdata/histories"

// engine is immutable.
var engine = policyinfer.New()

func readHistory(t *testing.T, name string) evidence.History {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(histories, name+".jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	h, err := evidence.ReadHistory(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// recorded returns the report of a recorded history, with what the real engine
// concludes from it.
func recorded(t *testing.T, name string) report.Input {
	t.Helper()
	return inputOf(readHistory(t, name))
}

func inputOf(h evidence.History) report.Input {
	return report.Input{
		Service: h.Test.Zone, Test: h.Test, History: h, Verdict: engine.Infer(h, policyinfer.Options{}),
		State: report.StateConcluded, Generated: h.Test.Started.Add(8 * time.Hour).Truncate(time.Second),
		Link: "https://lab.example/t/mfrggzdfmztwq2lk", Engine: policyinfer.EngineVersion,
	}
}

// cases are the reports with golden files: each recorded history, and
// verdicts that no recording shows.
func cases(t *testing.T) map[string]report.Input {
	t.Helper()
	out := make(map[string]report.Input)
	files, err := filepath.Glob(filepath.Join(histories, "*.jsonl"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no recorded histories: %v", err)
	}
	for _, f := range files {
		name := strings.TrimSuffix(filepath.Base(f), ".jsonl")
		out[name] = recorded(t, name)
	}
	out["running"] = running(t)
	out["nothing-seen"] = nothingSeen(t)
	out["mixed"] = mixed(t)
	out["opted-out"] = optedOut(t)
	out["zone-unverifiable"] = unverifiable(t)
	out["sink-broken"] = broken(t)
	maps.Copy(out, receivingCases(t))
	for _, name := range []string{
		"postfix-dane", "postfix-may", "postfix-none", "mixed", "running", "nothing-seen", "zone-unverifiable",
		"receiving-green", "receiving-white", "receiving-yellow", "receiving-red", "receiving-grey", "receiving-incomplete", "receiving-not-authenticated",
	} {
		in := out[name]
		in.Language = report.German
		out[name+".de"] = in
	}
	return out
}

// running is a test after its first minutes.
func running(t *testing.T) report.Input {
	t.Helper()
	h := readHistory(t, "postfix-may")
	h.Connections = h.Connections[:12]
	in := inputOf(h)
	in.State = report.StateRunning
	in.Generated = h.Connections[11].End
	in.Test.LeftOut = 3
	in.Around = []evidence.Query{{Time: h.Test.Started, Client: "198.51.100.7", Name: "_25._tcp.mx04.et.lab.example.", Type: "TLSA"}}
	return in
}

func nothingSeen(t *testing.T) report.Input {
	t.Helper()
	h := readHistory(t, "postfix-dane")
	h.Connections, h.Queries, h.Fetches = nil, nil, nil
	in := inputOf(h)
	in.State, in.Link = report.StateClosed, ""
	return in
}

// mixed joins two senders of different policies behind two addresses.
func mixed(t *testing.T) report.Input {
	t.Helper()
	h := readHistory(t, "postfix-dane")
	shift := h.Test.Started.Sub(readHistory(t, "postfix-none").Test.Started)
	for _, c := range readHistory(t, "postfix-none").Connections {
		c.ID = "n" + c.ID
		c.Client = strings.Replace(c.Client, "192.0.2.10", "192.0.2.11", 1)
		c.Start, c.End = c.Start.Add(shift), c.End.Add(shift)
		h.Connections = append(h.Connections, c)
	}
	slices.SortStableFunc(h.Connections, func(a, b evidence.Connection) int { return a.Start.Compare(b.Start) })
	return inputOf(h)
}

func optedOut(t *testing.T) report.Input {
	t.Helper()
	h := readHistory(t, "postfix-dane")
	for i := range h.Connections {
		// Signatures are in no recording.
		if n := len(h.Connections[i].Transactions); n > 0 {
			h.Connections[i].Transactions[n-1].Message = &evidence.Message{
				ARC: true, SPF: evidence.SPF{Result: evidence.AuthPass},
				DKIM: []evidence.DKIM{{Domain: "sender.lab.example", Result: evidence.AuthPass}},
			}
		}
		for j := range h.Connections[i].Transactions {
			h.Connections[i].Transactions[j].TLSRequiredNo = true
		}
	}
	return inputOf(h)
}

func unverifiable(t *testing.T) report.Input {
	t.Helper()
	h := readHistory(t, "postfix-may")
	for i := range h.States {
		h.States[i].Unverifiable = "no DS record at the parent"
	}
	in := inputOf(h)
	in.Delivery = "mx.sender.lab.example: TLSA records don't match the certificate"
	return in
}

func broken(t *testing.T) report.Input {
	t.Helper()
	h := readHistory(t, "postfix-dane")
	for i := range h.States {
		h.States[i].Broken, h.States[i].BrokenSince = "mx05: its TLSA records match the certificate", h.States[i].Time
	}
	return inputOf(h)
}

// pages are the cases with a golden file of their page, too.
var pages = []string{"postfix-dane", "mixed", "nothing-seen", "running.de", "receiving-green.de", "receiving-yellow", "receiving-incomplete.de", "receiving-huge"}

func golden(t *testing.T, name string, got []byte, update bool) {
	t.Helper()
	path := filepath.Join("testdata", "golden", name)
	if update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s (-want +got); run with -update if it is meant:\n%s", name, diff)
	}
}

func TestGolden(t *testing.T) {
	update := flag.Lookup("update").Value.String() == "true"
	for name, in := range cases(t) {
		t.Run(name, func(t *testing.T) {
			golden(t, name+".txt", []byte("Subject: "+report.Subject(in)+"\n\n"+report.Text(in)), update)
			page, err := report.HTML(in)
			if err != nil {
				t.Fatal(err)
			}
			golden(t, name+".html", page, update)
			if slices.Contains(pages, name) {
				fragment, err := report.Fragment(in)
				if err != nil {
					t.Fatal(err)
				}
				golden(t, name+".page.html", []byte(fragment), update)
			}
		})
	}
}

func TestMixedIsMixed(t *testing.T) {
	if v := mixed(t).Verdict; v.Policy != policyinfer.Mixed || len(v.Hosts) != 2 {
		t.Fatalf("verdict %s with %d hosts, want mixed with 2: the golden file shows the wrong case", v.Policy, len(v.Hosts))
	}
}

// Every line of the text fits the width of a mail, but the link, and records that
// are to be copied into a zone.
func TestTextWidth(t *testing.T) {
	for name, in := range cases(t) {
		for line := range strings.Lines(report.Text(in)) {
			line = strings.TrimSuffix(line, "\n")
			record := strings.HasPrefix(line, "      ") && strings.Contains(line, ". IN T")
			if utf8.RuneCountInString(line) > 76 && line != in.Link && !record {
				t.Errorf("%s: line of %d characters: %s", name, utf8.RuneCountInString(line), line)
			}
		}
	}
}

// A program that reads the JSON gets a verdict, and a redacted history from
// which the engine concludes the same.
func TestJSON(t *testing.T) {
	for name, in := range cases(t) {
		if in.Language != "" {
			continue // is the same
		}
		t.Run(name, func(t *testing.T) {
			b, err := report.JSON(in)
			if err != nil {
				t.Fatal(err)
			}
			var got struct {
				Service, Test, State, Engine, Summary string
				Generated                             time.Time
				Verdict                               policyinfer.Verdict
				History                               []json.RawMessage
			}
			if err := json.Unmarshal(b, &got); err != nil {
				t.Fatal(err)
			}
			if got.Service != in.Service || got.Test != in.Test.ID || got.State != in.State || !got.Generated.Equal(in.Generated) || got.Summary == "" {
				t.Errorf("head is %+v", got)
			}
			var lines bytes.Buffer
			for _, r := range got.History {
				if err := json.Compact(&lines, r); err != nil {
					t.Fatal(err)
				}
				lines.WriteByte('\n')
			}
			h, err := evidence.ReadHistory(&lines)
			if err != nil {
				t.Fatalf("history is not in the interchange format: %v", err)
			}
			again := engine.Infer(h, policyinfer.Options{})
			for _, v := range []policyinfer.Verdict{got.Verdict, again} {
				if diff := cmp.Diff(in.Verdict, v); diff != "" {
					t.Errorf("verdict (-want +got):\n%s", diff)
				}
			}
			if bytes.Contains(b, []byte(in.Test.Sender)) {
				t.Error("the full address of the sender is in the JSON")
			}
			if in.Link != "" && bytes.Contains(b, []byte(in.Link)) {
				t.Error("the secret link is in the JSON")
			}
		})
	}
}

// Rendering does not change the evidence.
func TestInputIsKept(t *testing.T) {
	in, want := hostile(), hostile()
	if _, err := report.JSON(in); err != nil {
		t.Fatal(err)
	}
	report.Text(in)
	if diff := cmp.Diff(want, in, cmpopts.EquateComparable(netip.Addr{})); diff != "" {
		t.Errorf("input changed (-want +got):\n%s", diff)
	}
}

// Every verdict has words of its own.
func TestEveryPolicyHasWords(t *testing.T) {
	seen := make(map[string]policyinfer.Name)
	for _, n := range append(policyinfer.Names(), policyinfer.Mixed, policyinfer.Undetermined) {
		in := report.Input{Service: "sink.example", Verdict: policyinfer.Verdict{Policy: n}}
		text := report.Text(in)
		if strings.Contains(text, "no words for") {
			t.Errorf("%s has no words", n)
		}
		lay := strings.Split(text, "\n\n")[2] // after the title and the heading
		if other, ok := seen[lay]; ok {
			t.Errorf("%s and %s have the same first sentence", n, other)
		}
		seen[lay] = n
		if strings.ContainsAny(text, "{}") {
			t.Errorf("%s: a placeholder is left:\n%s", n, text)
		}
	}
}

// Each finding is shown with its id, under which the documentation explains
// it, in every form.
func TestEveryFindingIsRendered(t *testing.T) {
	for _, id := range policyinfer.FindingIDs() {
		in := report.Input{Service: "sink.example", Verdict: policyinfer.Verdict{
			Policy: policyinfer.Undetermined, Findings: []policyinfer.Finding{{ID: id, Text: "What was found.", Connections: []evidence.ConnID{"7"}}},
		}}
		page, err := report.HTML(in)
		if err != nil {
			t.Fatal(err)
		}
		for form, s := range map[string]string{"text": report.Text(in), "HTML": string(page)} {
			if !strings.Contains(s, "What was found. ("+id+")") || !strings.Contains(s, "#7") {
				t.Errorf("finding %s is not in the %s", id, form)
			}
		}
	}
}

// Every part that is known is shown.
func TestEveryPartIsRendered(t *testing.T) {
	none := strings.Count(report.Text(report.Input{}), "\n")
	in := report.Input{Verdict: policyinfer.Verdict{Sender: policyinfer.Sender{
		TLS: "offered", Plaintext: "no", PlaintextUnprotected: "yes", VerifiesCA: "no", DANE: "yes", MTASTS: "lazy",
		Both: "either", SNI: "always", UnlistedMX: "skipped", WithoutTLS: "retry",
	}}}
	text := report.Text(in)
	for _, want := range []string{"when it is offered", "except at first contact", "either suffices", "never contacted", "tried again", "SNI): always"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in the report:\n%s", want, text)
		}
	}
	if n := strings.Count(text, "\n"); n < none+13 {
		t.Errorf("%d lines, %d without parts: a part is missing", n, none)
	}
}

func TestMain(m *testing.M) {
	flag.Bool("update", false, "write the golden files")
	flag.Parse()
	os.Exit(m.Run())
}
