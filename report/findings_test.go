package report

import (
	"bytes"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/tlsink/tlsink/evidence"
	"github.com/tlsink/tlsink/policyinfer"
	"github.com/tlsink/tlsink/scenario"
)

// arguments are what each finding and reason may come with.
var arguments = map[string]string{
	policyinfer.ArgAfter: policyinfer.AfterFailure, policyinfer.ArgConnections: "3", policyinfer.ArgFrom: "10:00:00", policyinfer.ArgTo: "10:20:00",
	policyinfer.ArgIPv4: "dane", policyinfer.ArgIPv6: "may,encrypt", policyinfer.ArgSpan: "31m5s", policyinfer.ArgWhy: "no DS record",
	policyinfer.ArgDomain: string(scenario.ET), policyinfer.ArgHost: string(scenario.MX04),
	policyinfer.ArgCertificate: string(scenario.SelfSigned), policyinfer.ArgTLSA: string(scenario.TLSAMatch), policyinfer.ArgSNI: string(scenario.Yes),
}

// Each finding and reason that the inference knows has words in each language.
func TestEveryRemarkHasWords(t *testing.T) {
	for _, l := range []Language{English, German} {
		for _, id := range policyinfer.FindingIDs() {
			s, ok := findingIn(policyinfer.Finding{ID: id, Args: arguments}, l)
			if !ok || s == "" || strings.ContainsAny(s, "{}") {
				t.Errorf("finding %s has no words in %q: %q", id, l, s)
			}
		}
		for _, id := range policyinfer.ReasonIDs() {
			s, ok := reasonIn(policyinfer.Reason{ID: id, Args: arguments}, l)
			if !ok || s == "" || strings.ContainsAny(s, "{}%") {
				t.Errorf("reason %s has no words in %q: %q", id, l, s)
			}
		}
	}
}

// Our English words are those of the inference: when it says something else,
// the German text has to be looked at, too.
func TestRemarksAreThoseOfTheInference(t *testing.T) {
	engine := policyinfer.New()
	seen := make(map[string]bool)
	var files []string
	for _, pattern := range []string{"histories/*.jsonl", "cases/*.jsonl", "lab/*.jsonl", "shrunk/*.jsonl", "servers/*.jsonl"} {
		found, err := filepath.Glob(filepath.Join("../policyinfer/testdata", pattern))
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, found...)
	}
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		h, err := evidence.ReadHistory(bytes.NewReader(b))
		if err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		v := engine.Infer(h, policyinfer.Options{})
		for _, f := range v.Findings {
			seen[f.ID] = true
			if got, _ := findingIn(f, English); got != f.Text {
				t.Errorf("%s: finding %s: %q, want %q", file, f.ID, got, f.Text)
			}
			if german := findingText(f, German); german == f.Text {
				t.Errorf("%s: finding %s has no German text", file, f.ID)
			}
		}
		for _, r := range v.Reasons {
			seen[r.ID] = true
			if got, _ := reasonIn(r, English); got != r.Text {
				t.Errorf("%s: reason %s: %q, want %q", file, r.ID, got, r.Text)
			}
			if german := reasonText(r, German); german == r.Text {
				t.Errorf("%s: reason %s has no German text", file, r.ID)
			}
		}
	}
	if len(seen) < 20 {
		t.Errorf("only these occur: %v", slices.Sorted(maps.Keys(seen)))
	}
}

// What older versions stored has no ids, and keeps its text.
func TestOldVerdictsKeepTheirText(t *testing.T) {
	const old = "What an old engine found."
	for name, got := range map[string]string{
		"reason without id":     reasonText(policyinfer.Reason{Text: old}, German),
		"unknown reason":        reasonText(policyinfer.Reason{ID: "of-the-future", Text: old}, German),
		"unknown finding":       findingText(policyinfer.Finding{ID: "of-the-future", Text: old}, German),
		"no arguments":          findingText(policyinfer.Finding{ID: policyinfer.FindingChanged, Text: old}, German),
		"one of two is unknown": findingText(policyinfer.Finding{ID: policyinfer.FindingFallback, Text: old}, German),
		"one argument is not there": findingText(policyinfer.Finding{
			ID: policyinfer.FindingChanged, Text: old, Args: map[string]string{policyinfer.ArgFrom: "10:00:00"},
		}, German),
	} {
		if got != old {
			t.Errorf("%s: %q, want %q", name, got, old)
		}
	}
}

func TestReasonsInGerman(t *testing.T) {
	for _, tt := range []struct {
		id   string
		args map[string]string
		want string
	}{
		{
			policyinfer.ReasonTLSRefused,
			map[string]string{"domain": "et", "host": "mx03", "certificate": "self-signed", "tlsa": "mismatch"},
			"Hat die E-Mail an die geschützte Domain (et) nicht an mx03 übergeben, dessen Zertifikat selbstsigniert ist und nicht zum TLSA-Eintrag passt.",
		},
		{
			policyinfer.ReasonTLSDelivered,
			map[string]string{"domain": "ut", "certificate": "ca"},
			"Hat die E-Mail an die ungeschützte Domain (ut) verschlüsselt an einen Server übergeben, dessen Zertifikat von einer öffentlichen Zertifizierungsstelle stammt.",
		},
		{
			policyinfer.ReasonTLSStarted,
			map[string]string{"domain": "unknown", "sni": "no"},
			"Hat für die E-Mail an eine der beiden Domains (et oder ut) eine Verschlüsselung (TLS) begonnen, ohne einen Server zu nennen.",
		},
	} {
		if got := reasonText(policyinfer.Reason{ID: tt.id, Args: tt.args}, German); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.id, got, tt.want)
		}
	}
}
