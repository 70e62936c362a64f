package cli

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/term"
)

// IsTerminal reports whether w is a terminal that lines can be redrawn on.
func IsTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0 && os.Getenv("TERM") != "dumb"
}

// Interactive reports whether somebody can be asked.
func Interactive(in io.Reader) bool {
	f, ok := in.(*os.File)
	return ok && term.IsTerminal(int(f.Fd())) //nolint:gosec // a file descriptor
}

// Confirm asks before something is lost. Where nobody can be asked, --yes must
// say so.
func Confirm(e *Env, question string, yes bool) error {
	if yes {
		return nil
	}
	if !Interactive(e.Stdin) {
		return fmt.Errorf("%s? There is no terminal to ask on: confirm it with --yes", question)
	}
	fmt.Fprintf(e.Stderr, "%s? [y/N] ", question)
	line, err := bufio.NewReader(io.LimitReader(e.Stdin, 100)).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	if a := strings.ToLower(strings.TrimSpace(line)); a != "y" && a != "yes" {
		return errors.New("nothing was changed")
	}
	return nil
}
