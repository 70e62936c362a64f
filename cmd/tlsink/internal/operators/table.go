package operators

import (
	"errors"
	"fmt"
	"text/tabwriter"

	"github.com/tlsink/tlsink/cmd/tlsink/internal/cli"
	"github.com/tlsink/tlsink/cmd/tlsink/internal/control"
)

// table is how a list is printed.
type table[T any] struct {
	none string // what it means that there is nothing
	head string // of the columns, with tabs between them
	row  func(T) string
}

// ask prints the list that the running service has at path.
func (t table[T]) ask(c control.Flag, e *cli.Env, path string, asJSON bool) error {
	var list []T
	if done, err := c.List(e, path, asJSON, &list); done || err != nil {
		return err
	}
	return t.print(e, list)
}

func (t table[T]) print(e *cli.Env, list []T) error {
	if len(list) == 0 {
		fmt.Fprintln(e.Stderr, t.none)
		return nil
	}
	w := tabwriter.NewWriter(e.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, t.head)
	for _, one := range list {
		fmt.Fprintln(w, t.row(one))
	}
	return w.Flush()
}

// each does the same to several things, says so, and fails if one of them did.
func each(e *cli.Env, ids []string, do func(id string) (done string, err error)) error {
	var failed error
	for _, id := range ids {
		done, err := do(id)
		if err != nil {
			failed = errors.Join(failed, err)
			continue
		}
		fmt.Fprintln(e.Stdout, done)
	}
	return failed
}
