package wire

import (
	"net"

	"github.com/emersion/go-smtp"
)

// Serve lets engine serve c alone and returns when it has left it. The engine
// must belong to this connection and have no limit on lines and no timeouts.
func Serve(engine *smtp.Server, c *Conn) {
	engine.Serve(&single{conn: c}) //nolint:errcheck // it ends with net.ErrClosed, by design
}

// single is a listener that accepts one connection and is closed with it.
type single struct {
	conn  *Conn
	given bool
}

func (s *single) Accept() (net.Conn, error) {
	if !s.given {
		s.given = true
		return s.conn, nil
	}
	<-s.conn.done
	return nil, net.ErrClosed
}

func (s *single) Close() error   { return nil }
func (s *single) Addr() net.Addr { return s.conn.LocalAddr() }
