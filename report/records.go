package report

import (
	"bytes"
	"fmt"

	"github.com/tlsink/tlsink/evidence"
)

// History returns the redacted history in the interchange format, JSON Lines,
// as it stands in JSON. Of a very long one the middle is left out; omitted is
// how many records that are.
func History(in Input) (lines []byte, omitted int, err error) {
	omitted = foldHistory(&in.History)
	var b bytes.Buffer
	if err := evidence.WriteHistory(&b, redactHistory(in)); err != nil {
		return nil, 0, fmt.Errorf("encode history of test %q: %w", in.Test.ID, err)
	}
	return b.Bytes(), omitted, nil
}
