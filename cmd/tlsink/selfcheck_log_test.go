package main

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tlsink/tlsink/assess"
	"github.com/tlsink/tlsink/doctor"
)

// A check that fails is logged when the reason changes, and every ten minutes.
func TestCheckLogTellsNews(t *testing.T) {
	var out bytes.Buffer
	log := checkLog{log: slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return a
	}}))}
	at := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	tell := func(after time.Duration, results ...doctor.Result) string {
		at = at.Add(after)
		o := outcome{at: at, results: results}
		o.fault.Unverifiable, o.fault.Broken, o.decided = doctor.Worst(results)
		o.fault.BrokenSince = at.Add(-time.Hour) // no reason
		out.Reset()
		log.tell(o)
		return strings.TrimSuffix(out.String(), "\n")
	}
	wrong := func(check, subject, seen, fix string, effect doctor.Effect) doctor.Result {
		return doctor.Result{Check: check, Subject: subject, Status: doctor.Wrong, Seen: seen, Fix: fix, Effect: effect}
	}
	chain := wrong("chain", "sink.example", "server 192.0.2.53:4711: no answer", "look", doctor.Unverifiable)
	later := chain
	later.Seen = "server 192.0.2.53:54321: no answer"
	waits := doctor.Result{Check: "chain", Subject: "sink.example", Status: doctor.Cannot, Seen: "not tested before delegation is ok", Effect: doctor.Unverifiable}
	delegation := wrong("delegation", "sink.example", "not delegated", "publish\nsink.example. NS ns1.sink.example.", doctor.NoEffect)
	first := wrong("certificates", "mx05", "not issued", "wait", doctor.Broken)
	second := first
	second.Subject = "mx06"
	cannot := doctor.Result{Check: "offered", Subject: "mx", Status: doctor.Cannot, Effect: doctor.Broken}
	const (
		unverifiable = `level=ERROR msg="self-check fails: own zone or policy not verifiable, unprotected verdicts are suspended"`
		broken       = `level=ERROR msg="self-check fails: a server is not what it has to be, no verdicts and no reports"`
		good         = `level=INFO msg="own zone and policy verified"`
	)
	for _, s := range []struct {
		name    string
		after   time.Duration
		results []doctor.Result
		want    []string
	}{
		{"at first", 0, []doctor.Result{chain}, []string{unverifiable + ` err="sink.example: server 192.0.2.53:4711: no answer" fix=look`}},
		{"the same", time.Second, []doctor.Result{chain}, nil},
		{"only a number is another", time.Second, []doctor.Result{later}, nil},
		{"a cause above it", time.Second, []doctor.Result{delegation, chain}, []string{`level=WARN msg=self-check check=delegation subject=sink.example seen="not delegated" fix=publish`}},
		{"only the cause counts", time.Second, []doctor.Result{delegation, waits}, []string{unverifiable + ` err="sink.example: not delegated" fix=publish`}},
		{"back", time.Second, []doctor.Result{delegation, chain}, []string{unverifiable + ` err="sink.example: server 192.0.2.53:4711: no answer" fix=publish`}},
		{"still so after a while", 10 * time.Minute, []doctor.Result{delegation, chain}, []string{unverifiable + ` err="sink.example: server 192.0.2.53:4711: no answer" fix=publish`}},
		{"two servers, one cause", time.Second, []doctor.Result{first, second}, []string{broken + ` err="mx05: not issued" fix=wait`}},
		{"not all could be looked at", time.Second, []doctor.Result{cannot}, []string{"level=WARN msg=\"the self-check could not look at every server: reports wait\" fix=\"`tlsink doctor` says why\""}},
		{"again", time.Second, []doctor.Result{cannot}, nil},
		{"cured", time.Second, nil, []string{good}},
		{"still good", time.Hour, nil, nil},
		{"wrong once more", time.Second, []doctor.Result{chain}, []string{unverifiable + ` err="sink.example: server 192.0.2.53:4711: no answer" fix=look`}},
	} {
		if diff := cmp.Diff(strings.Join(s.want, "\n"), tell(s.after, s.results...)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", s.name, diff)
		}
	}
	fresh := checkLog{log: log.log}
	out.Reset()
	if fresh.tell(outcome{at: at, decided: true, fault: assess.Fault{}}); !strings.Contains(out.String(), good) {
		t.Errorf("a good start is not told: %q", out.String())
	}
}
