package main

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/tlsink/tlsink/cmd/tlsink/internal/cli"
	"github.com/tlsink/tlsink/evidence"
	"github.com/tlsink/tlsink/policyinfer"
)

type inferCmd struct {
	Files   []string `arg:"" help:"Histories in JSON Lines; - is standard input, a folder stands for its *.jsonl files."`
	JSON    bool     `name:"json" help:"Print each verdict as one line of JSON."`
	Explain bool     `help:"Say for every policy that is excluded which connections excluded it."`
}

// Run prints the verdict of each history.
func (c *inferCmd) Run(e *cli.Env) error {
	files, err := expand(c.Files)
	if err != nil {
		return err
	}
	engine := policyinfer.New()
	for i, file := range files {
		h, err := readHistory(e, file)
		if err != nil {
			return err
		}
		v := engine.Infer(h, policyinfer.Options{Explain: c.Explain})
		if c.JSON {
			if err := json.NewEncoder(e.Stdout).Encode(struct {
				Test string `json:"test"`
				policyinfer.Verdict
			}{h.Test.ID, v}); err != nil {
				return err
			}
			continue
		}
		if i > 0 {
			fmt.Fprintln(e.Stdout)
		}
		printVerdict(e.Stdout, h.Test.ID, v)
	}
	return nil
}

func expand(args []string) ([]string, error) {
	var out []string
	for _, a := range args {
		if info, err := os.Stat(a); a != "-" && err == nil && info.IsDir() {
			found, err := filepath.Glob(filepath.Join(a, "*.jsonl"))
			if err != nil || len(found) == 0 {
				return nil, fmt.Errorf("folder %s: no *.jsonl files in it", a)
			}
			out = append(out, found...)
			continue
		}
		out = append(out, a)
	}
	return out, nil
}

func readHistory(e *cli.Env, file string) (evidence.History, error) {
	r := e.Stdin
	if file != "-" {
		f, err := os.Open(file)
		if err != nil {
			return evidence.History{}, fmt.Errorf("read history: %w", err)
		}
		defer f.Close()
		r = f
	}
	h, err := evidence.ReadHistory(r)
	if err != nil {
		return evidence.History{}, fmt.Errorf("history %s: %w", file, err)
	}
	return h, nil
}

// printVerdict writes a verdict for people: the answer first, then what it
// rests on, then what is missing.
func printVerdict(w io.Writer, id string, v policyinfer.Verdict) {
	fmt.Fprintf(w, "%s: %s\n", id, cli.Verdict(v.Policy, v.Candidates))
	for _, f := range v.Findings {
		fmt.Fprintf(w, "  ! %s (%s)%s\n", f.Text, f.ID, cite(f.Connections))
	}
	for _, host := range slices.Sorted(maps.Keys(v.Hosts)) {
		of := v.Hosts[host]
		fmt.Fprintf(w, "  host %s: %s\n", host, cli.Verdict(of.Policy, of.Candidates))
	}
	for _, r := range v.Reasons {
		fmt.Fprintf(w, "  - %s%s\n", r.Text, cite(r.Connections))
	}
	for _, m := range v.Missing {
		fmt.Fprintf(w, "  ? server %d%s would tell apart: %s\n", m.Face, certificate(m), cli.Names(m.TellsApart))
	}
	if len(v.Eliminated) > 0 {
		fmt.Fprintln(w, "  excluded:")
		for _, x := range v.Eliminated {
			fmt.Fprintf(w, "    %-12s %s\n                 by: %s%s\n", x.Name, x.Policy, x.By, cite(x.Connections))
		}
	}
}

func certificate(m policyinfer.Missing) string {
	if m.Certificate == "" {
		return " in plaintext"
	}
	return " with a " + string(m.Certificate) + " certificate"
}

// cite names connections, the first few of many.
func cite(ids []evidence.ConnID) string {
	if len(ids) == 0 {
		return ""
	}
	const most = 6
	var s []string
	for _, id := range ids[:min(len(ids), most)] {
		s = append(s, string(id))
	}
	if len(ids) > most {
		s = append(s, "…")
	}
	return " [" + strings.Join(s, ", ") + "]"
}
