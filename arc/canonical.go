package arc

import (
	"bytes"
	"hash"
	"strings"
)

// relaxedHeader is the relaxed canonicalization of a header field, without the
// CRLF at its end (RFC 6376 §3.4.2).
func relaxedHeader(f field) string {
	return f.key + ":" + strings.Join(strings.FieldsFunc(f.value(), wsp), " ")
}

// simpleHeader is the simple canonicalization, without the CRLF (§3.4.1).
func simpleHeader(f field) string { return f.raw }

func wsp(r rune) bool { return r == ' ' || r == '\t' || r == '\r' || r == '\n' }

// bodyHash hashes a canonicalized body of any size (RFC 6376 §3.4.3, §3.4.4).
// A bare LF is a line end: it would have become one on the way.
type bodyHash struct {
	relaxed bool
	h       hash.Hash

	lines   int  // line ends that count only if something follows
	space   bool // white space that counts only if something follows on the line
	cr      bool // a CR: half a line end, or an octet like others
	written bool // anything but empty lines
	out     []byte
}

// Write takes a part of the body. It never fails.
func (b *bodyHash) Write(p []byte) (int, error) {
	for _, c := range p {
		if b.cr && c != '\n' {
			b.octet('\r')
		}
		b.cr = c == '\r'
		switch {
		case b.cr:
		case c == '\n':
			b.space = false
			b.lines++
		case b.relaxed && (c == ' ' || c == '\t'):
			b.space = true
		default:
			b.octet(c)
		}
	}
	b.flush()
	return len(p), nil
}

func (b *bodyHash) octet(c byte) {
	const most = 4096
	for ; b.lines > 0; b.lines-- {
		b.out = append(b.out, '\r', '\n')
		if len(b.out) >= most {
			b.flush()
		}
	}
	if b.space {
		b.out = append(b.out, ' ')
	}
	b.out = append(b.out, c)
	b.space, b.written = false, true
	if len(b.out) >= most {
		b.flush()
	}
}

func (b *bodyHash) flush() {
	_, _ = b.h.Write(b.out) // a hash never fails
	b.out = b.out[:0]
}

// sum ends the body.
func (b *bodyHash) sum() []byte {
	if b.cr {
		b.octet('\r')
		b.cr = false
	}
	// An empty body is CRLF in simple form, and nothing in relaxed form.
	if b.written || !b.relaxed {
		b.out = append(b.out, '\r', '\n')
	}
	b.flush()
	return b.h.Sum(nil)
}

// field is a header field.
type field struct {
	key  string // lower case
	raw  string // as it came, with CRLF line ends, without the last one
	name int    // octets up to the colon
}

func (f field) value() string { return f.raw[f.name+1:] }

// fields splits a header. What is no field is left out: nothing can refer to it.
func fields(header []byte) []field {
	var out []field
	add := func(raw []byte) {
		name, _, ok := bytes.Cut(raw, []byte{':'})
		if key := strings.ToLower(strings.TrimRight(string(name), " \t")); ok && key != "" && !strings.ContainsAny(key, " \t\r\n") {
			out = append(out, field{key: key, raw: string(raw), name: len(name)})
		}
	}
	var open []byte
	for line := range bytes.Lines(header) {
		line = bytes.TrimSuffix(bytes.TrimSuffix(line, []byte{'\n'}), []byte{'\r'})
		if len(line) == 0 {
			break
		}
		if line[0] == ' ' || line[0] == '\t' {
			open = append(append(open, '\r', '\n'), line...)
			continue
		}
		add(open)
		open = append(open[:0], line...)
	}
	add(open)
	return out
}
