package wire

import (
	"bytes"
	"strconv"
	"strings"
)

// command splits a line exactly as the engine does, so that both always agree
// on what is a command. The verb is empty for lines that the engine rejects.
func command(line string) (verb, arg string) {
	line = strings.TrimRight(line, "\r\n")
	if len(line) < 4 || len(line) == 5 || (len(line) > 5 && line[4] != ' ') {
		return "", ""
	}
	verb = strings.ToUpper(line[:4])
	if len(line) > 5 {
		arg = strings.TrimSpace(line[5:])
	}
	return verb, arg
}

// chunkSize returns the octets that the engine will read after a BDAT line: it
// reads them even when it refuses the command, and none when it cannot parse
// it (RFC 3030 §2).
func chunkSize(arg string) (size int64, ok bool) {
	args := strings.Fields(arg)
	if len(args) == 0 || len(args) > 2 || (len(args) == 2 && !strings.EqualFold(args[1], "LAST")) {
		return 0, false
	}
	n, err := strconv.ParseUint(args[0], 10, 32)
	return int64(n), err == nil
}

// startTLS reports whether the engine would take line for STARTTLS, and
// whether it is a well-formed one. The engine must never see such a line.
func startTLS(line string) (is bool, refusal *Reply) {
	line = strings.TrimRight(line, "\r\n")
	if len(line) < 8 || !strings.EqualFold(line[:8], "STARTTLS") {
		return false, nil
	}
	rest := line[8:]
	switch {
	case strings.TrimSpace(rest) == "":
		return true, nil
	case rest[0] == ' ':
		// RFC 3207 §4: no parameters are allowed.
		return true, &Reply{501, [3]int{5, 5, 4}, "STARTTLS takes no parameter"}
	}
	return true, &Reply{500, [3]int{5, 5, 2}, "Command unrecognized"}
}

// lineFault says what is wrong with a command line, "" if nothing is.
func lineFault(line []byte) string {
	body := bytes.TrimSuffix(line, []byte("\n"))
	body = bytes.TrimSuffix(body, []byte("\r"))
	switch {
	case bytes.IndexByte(body, 0) >= 0:
		return "NUL in a command line"
	case bytes.IndexByte(body, '\r') >= 0:
		return "bare CR in a command line"
	}
	return ""
}

// maxTextLine is RFC 5321 §4.5.3.1.6: octets of a text line with its CRLF.
const maxTextLine = 1000

// message follows the octets of a message to its end, with the same state
// machine as the engine: only CRLF "." CRLF ends it.
type message struct {
	state   messageState
	last    byte
	length  int
	anomaly func(string)
}

type messageState int

const (
	atLineStart messageState = iota
	atDot
	atDotCR
	atCR
	inLine
	atEnd
)

// scan follows b and returns how many of its octets belong to the message,
// and whether the message ended with them.
func (m *message) scan(b []byte) (n int, ended bool) {
	for i, c := range b {
		m.inspect(c)
		switch m.state {
		case atLineStart:
			switch c {
			case '.':
				m.state = atDot
			case '\r':
				m.state = atCR
			default:
				m.state = inLine
			}
		case atDot:
			m.state = inLine
			if c == '\r' {
				m.state = atDotCR
			}
		case atDotCR:
			if c == '\n' {
				m.state = atEnd
				return i + 1, true
			}
			m.state = inLine
		case atCR:
			m.state = inLine
			if c == '\n' {
				m.state = atLineStart
			}
		case inLine:
			if c == '\r' {
				m.state = atCR
			}
		}
	}
	return len(b), false
}

// inspect records what a message should not contain.
func (m *message) inspect(c byte) {
	m.length++
	switch {
	case c == 0:
		m.anomaly("NUL in a message")
	case c == '\n' && m.last != '\r':
		m.anomaly("bare LF in a message")
	case c != '\n' && m.last == '\r':
		m.anomaly("bare CR in a message")
	case m.length == maxTextLine+1:
		m.anomaly("message line longer than 1000 octets")
	}
	if c == '\n' {
		m.length = 0
	}
	m.last = c
}
