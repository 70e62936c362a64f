package operators

import (
	"bufio"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"

	"golang.org/x/term"

	"github.com/tlsink/tlsink/cmd/tlsink/internal/cli"
	"github.com/tlsink/tlsink/config"
	"github.com/tlsink/tlsink/console"
	"github.com/tlsink/tlsink/internal/durable"
)

// ConsoleCmd sets the password of the operator's console.
type ConsoleCmd struct {
	Password consolePasswordCmd `cmd:"" help:"Set the password of the console. It asks twice, or reads one line of standard input."`
}

type consolePasswordCmd struct {
	Config string `default:"/etc/tlsink/tlsink.toml" help:"Configuration file of the service." type:"path" placeholder:"FILE"`
}

// Run sets the password: a running console takes it at once, and ends all
// sessions.
func (c *consolePasswordCmd) Run(e *cli.Env) error {
	cfg, err := config.Load(c.Config)
	if err != nil {
		return err
	}
	password, err := askPassword(e)
	if err != nil {
		return err
	}
	if err := console.CheckNewPassword(password, cfg.Zone); err != nil {
		return err
	}
	hash, err := console.HashPassword(password, rand.Reader)
	if err != nil {
		return err
	}
	file := cfg.ConsolePassword()
	if err := replaceSecret(file, cfg.DataDir, hash+"\n"); err != nil {
		return fmt.Errorf("console.password_file: %w", err)
	}
	fmt.Fprintf(e.Stdout, "%s is written: the password counts from now on, and everybody has to log in again.\n", file)
	if cfg.Console.Enabled {
		fmt.Fprintf(e.Stdout, "The console is at https://%s%s.\n", cfg.Zone, console.Path)
	} else {
		fmt.Fprintln(e.Stdout, "The console is still off: set enabled = true in [console] of the configuration, and restart the service.")
	}
	return nil
}

// replaceSecret puts text into a file that only its owner reads. That is whoever
// owns dataDir, since root makes files that the service has to read.
func replaceSecret(file, dataDir, text string) error {
	dir, err := os.Stat(dataDir)
	if err != nil {
		return fmt.Errorf("data_dir: %w: start the service once, which makes it", err)
	}
	owner, known := dir.Sys().(*syscall.Stat_t)
	return durable.Write(file, 0o600, func(w io.Writer) error {
		if f, ok := w.(*os.File); ok && known && os.Geteuid() == 0 {
			if err := f.Chown(int(owner.Uid), int(owner.Gid)); err != nil {
				return err
			}
		}
		_, err := io.WriteString(w, text)
		return err
	})
}

// askPassword reads a password: twice and without echo from a terminal, else
// one line.
func askPassword(e *cli.Env) (string, error) {
	f, ok := e.Stdin.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		line, err := bufio.NewReader(io.LimitReader(e.Stdin, console.MaxPassword+2)).ReadString('\n')
		if err != nil && !errors.Is(err, io.EOF) {
			return "", fmt.Errorf("password from standard input: %w", err)
		}
		return strings.TrimRight(line, "\r\n"), nil
	}
	first, err := promptPassword(e, f, "New password of the console: ")
	if err != nil {
		return "", err
	}
	second, err := promptPassword(e, f, "The same again: ")
	if err != nil {
		return "", err
	}
	if first != second {
		return "", errors.New("these two are different: nothing was changed")
	}
	return first, nil
}

// promptPassword restores the terminal also if the command is ended while it
// waits: without echo it would be of no more use.
func promptPassword(e *cli.Env, f *os.File, prompt string) (string, error) {
	state, err := term.GetState(int(f.Fd()))
	if err != nil {
		return "", fmt.Errorf("password from the terminal: %w", err)
	}
	fmt.Fprint(e.Stderr, prompt)
	type answer struct {
		text []byte
		err  error
	}
	read := make(chan answer, 1)
	go func() {
		text, err := term.ReadPassword(int(f.Fd()))
		read <- answer{text, err}
	}()
	select {
	case a := <-read:
		fmt.Fprintln(e.Stderr)
		if a.err != nil {
			return "", fmt.Errorf("password from the terminal: %w", a.err)
		}
		return string(a.text), nil
	case <-e.Ctx.Done():
		fmt.Fprintln(e.Stderr)
		return "", errors.Join(errors.New("ended: nothing was changed"), term.Restore(int(f.Fd()), state))
	}
}
