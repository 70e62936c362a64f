package control

import (
	"encoding/json"
	"fmt"
	"net/http"

	"github.com/tlsink/tlsink/cmd/tlsink/internal/cli"
	"github.com/tlsink/tlsink/config"
)

// Flag names the configuration of the service that is asked.
type Flag struct {
	Config string `default:"/etc/tlsink/tlsink.toml" help:"Configuration file of the running service." type:"path" placeholder:"FILE"`
}

// Ask returns the answer of the running service.
func (c Flag) Ask(e *cli.Env, method, path string) ([]byte, error) {
	cfg, err := config.Load(c.Config)
	if err != nil {
		return nil, err
	}
	return Ask(e.Ctx, cfg.DataDir, method, path)
}

// List asks for a list; done says that it was printed as JSON.
func (c Flag) List(e *cli.Env, path string, asJSON bool, to any) (done bool, err error) {
	b, err := c.Ask(e, http.MethodGet, path)
	if err != nil {
		return false, err
	}
	if asJSON {
		_, err := e.Stdout.Write(cli.PlainJSON(b))
		return true, err
	}
	if err := json.Unmarshal(b, to); err != nil {
		return false, fmt.Errorf("answer of the running service: %w", err)
	}
	return false, nil
}

// Print prints the answer as it is.
func (c Flag) Print(e *cli.Env, method, path string) error {
	b, err := c.Ask(e, method, path)
	if err == nil {
		_, err = e.Stdout.Write(b)
	}
	return err
}
