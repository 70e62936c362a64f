package report_test

import (
	"encoding/json"
	"net/netip"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/tlsink/tlsink/inbound"
	"github.com/tlsink/tlsink/rating"
	"github.com/tlsink/tlsink/report"
)

// What was found out about receiving comes through JSON as it was, in any
// language.
func TestJSONHoldsTheAnalysis(t *testing.T) {
	in := receivingCases(t)["receiving-incomplete"]
	in.Inbound.TLSRPT.Record, in.Inbound.TLSRPT.Reports, in.Inbound.DMARC.Reports = "", nil, nil // addresses are shortened
	for i := range in.Inbound.Hosts {
		for j := range in.Inbound.Hosts[i].Servers {
			in.Inbound.Hosts[i].Servers[j].Mandatory.Why = "" // as here
		}
	}
	r := rating.Rate(*in.Inbound, rating.OutboundOf(in.History))
	in.Ratings = &r
	in.Language = report.German
	b, err := report.JSON(in)
	if err != nil {
		t.Fatal(err)
	}
	var got struct {
		Inbound inbound.Analysis
		Ratings rating.Ratings
		Mail    struct {
			DMARC struct{ Result, Policy string }
			ARC   struct{ Sealer string }
			Hops  []json.RawMessage `json:"received"`
		}
	}
	if err := json.Unmarshal(b, &got); err != nil {
		t.Fatal(err)
	}
	addresses := cmpopts.EquateComparable(netip.Addr{})
	if diff := cmp.Diff(*in.Inbound, got.Inbound, addresses); diff != "" {
		t.Errorf("analysis (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(r, got.Ratings); diff != "" {
		t.Errorf("ratings (-want +got):\n%s", diff)
	}
	if got.Mail.DMARC.Result != "pass" || got.Mail.DMARC.Policy != "quarantine" || got.Mail.ARC.Sealer != "relay.example" || len(got.Mail.Hops) != 3 {
		t.Errorf("the mail is %+v", got.Mail)
	}
}

// Addresses of reports are shortened, and what stands before them is kept.
func TestJSONShortensAddressesOfRecords(t *testing.T) {
	b, err := report.JSON(receivingCases(t)["receiving-white-sts"])
	if err != nil {
		t.Fatal(err)
	}
	if s := string(b); strings.Contains(s, "tls@sender") || !strings.Contains(s, "v=TLSRPTv1; rua=mailto:t***@sender.lab.example") {
		t.Error("the record is not there, or its address in full")
	}
}

// Every member of the JSON is in the documentation.
func TestJSONIsDocumented(t *testing.T) {
	doc, err := os.ReadFile("../docs/report-json.md")
	if err != nil {
		t.Fatal(err)
	}
	members := 0
	for _, in := range []report.Input{receivingCases(t)["receiving-incomplete"], receivingCases(t)["receiving-not-authenticated"], hostile()} {
		b, err := report.JSON(in)
		if err != nil {
			t.Fatal(err)
		}
		var got map[string]json.RawMessage
		if err := json.Unmarshal(b, &got); err != nil {
			t.Fatal(err)
		}
		for name := range got {
			if members++; !strings.Contains(string(doc), "| `"+name+"`") {
				t.Errorf("%s is not documented", name)
			}
		}
	}
	if members < 30 {
		t.Errorf("only %d members", members)
	}
}
