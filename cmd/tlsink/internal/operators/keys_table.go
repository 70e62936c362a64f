package operators

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/tlsink/tlsink/certs"
	"github.com/tlsink/tlsink/cmd/tlsink/internal/cli"
)

// printKeys writes a table for a terminal of 100 columns: names are those below
// the zone, and why something does not go on stands below the table, once.
func printKeys(w io.Writer, zone string, slots int, keys []certs.KeyStatus) error {
	const day, minute = time.DateOnly, "2006-01-02 15:04"
	at := func(t time.Time, layout string) string {
		if t.IsZero() {
			return "-"
		}
		return t.UTC().Format(layout)
	}
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "HOST\tCERTIFICATE\tKEY\tTLSA 3 1 1 …\tVALID TO\tNEXT (UTC)\tSTATE")
	reasons := make(map[string][]string)
	var order []string
	for _, k := range keys {
		host := cmp.Or(strings.TrimSuffix(k.Host, "."+zone), k.Host)
		id, until, next := "-", "not issued", k.Next
		if k.Published {
			id = k.KeyID[:min(len(k.KeyID), 16)]
		}
		if k.Issued {
			until = at(k.NotAfter, day)
		}
		if k.Roll != certs.NoRoll {
			next = k.RollDue
		}
		state, reason := stateOf(k)
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", host, k.Certificate.Kind, k.Algorithm, id, until, at(next, minute), state)
		if reason = cli.Printable(reason); reason != "" {
			if !slices.Contains(order, reason) {
				order = append(order, reason)
			}
			reasons[reason] = append(reasons[reason], fmt.Sprintf("%s %s", host, k.Algorithm))
		}
	}
	if err := table.Flush(); err != nil {
		return err
	}
	if slots > 1 {
		if _, err := fmt.Fprintf(w, "\nEvery host has the same keys in all %d slots.\n", slots); err != nil {
			return err
		}
	}
	for _, reason := range order {
		if _, err := fmt.Fprintf(w, "\n%s:\n  %s\n", strings.Join(reasons[reason], ", "), reason); err != nil {
			return err
		}
	}
	return nil
}

// stateOf says in words what is going on with a key, and why it does not go on.
func stateOf(k certs.KeyStatus) (state, reason string) {
	switch {
	case k.Roll != certs.NoRoll:
		return fmt.Sprintf("rolling, %s", k.Roll), k.RollError
	case k.LastError != "" && k.Failures == 0:
		return "waiting", k.LastError
	case k.LastError != "":
		times := fmt.Sprintf("failed %d times", k.Failures)
		if k.Failures == 1 {
			times = "failed once"
		}
		return times, "last at " + k.LastFailed.UTC().Format(time.DateTime) + ": " + k.LastError
	case !k.Issued:
		return "waiting", ""
	}
	return "ok", ""
}
