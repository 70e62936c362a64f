package console_test

import (
	"github.com/tlsink/tlsink/console"
	"github.com/tlsink/tlsink/operate"
)

var _ console.Operator = (*operate.Operator)(nil)
