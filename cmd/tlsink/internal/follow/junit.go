package follow

import (
	"encoding/xml"
	"fmt"
	"net/url"
	"os"
	"strings"
	"unicode"
)

// The usual form of JUnit results: what CI systems read.
type (
	junitSuites struct {
		XMLName  xml.Name     `xml:"testsuites"`
		Name     string       `xml:"name,attr"`
		Tests    int          `xml:"tests,attr"`
		Failures int          `xml:"failures,attr"`
		Errors   int          `xml:"errors,attr"`
		Time     string       `xml:"time,attr"`
		Suites   []junitSuite `xml:"testsuite"`
	}
	junitSuite struct {
		Name       string          `xml:"name,attr"`
		Tests      int             `xml:"tests,attr"`
		Failures   int             `xml:"failures,attr"`
		Errors     int             `xml:"errors,attr"`
		Skipped    int             `xml:"skipped,attr"`
		Time       string          `xml:"time,attr"`
		Timestamp  string          `xml:"timestamp,attr,omitempty"`
		Properties []junitProperty `xml:"properties>property,omitempty"`
		Cases      []junitCase     `xml:"testcase"`
	}
	junitProperty struct {
		Name  string `xml:"name,attr"`
		Value string `xml:"value,attr"`
	}
	junitCase struct {
		Class   string        `xml:"classname,attr"`
		Name    string        `xml:"name,attr"`
		Time    string        `xml:"time,attr"`
		Skipped *junitMessage `xml:"skipped,omitempty"`
		Error   *junitMessage `xml:"error,omitempty"`
		Failure *junitMessage `xml:"failure,omitempty"`
		Out     string        `xml:"system-out,omitempty"`
	}
	junitMessage struct {
		Message string `xml:"message,attr"`
		Type    string `xml:"type,attr,omitempty"`
		Text    string `xml:",chardata"`
	}
)

// writeJUnitFile replaces the file.
func writeJUnitFile(file string, o testOutcome) error {
	b, err := xml.MarshalIndent(junitOf(o), "", "  ")
	if err != nil {
		return fmt.Errorf("encode: %w", err)
	}
	return os.WriteFile(file, append([]byte(xml.Header), append(b, '\n')...), 0o644) //nolint:gosec // a report for others to read
}

// junitOf has one case for each requirement, or for the verdict if there is
// none, and one for each finding: findings fail nothing, so they are "skipped",
// which CI systems show.
func junitOf(o testOutcome) junitSuites {
	took := fmt.Sprintf("%.3f", o.took.Seconds())
	suite := junitSuite{Name: "tlsink", Time: took}
	class := "tlsink." + hostOfServer(o.server)
	if len(o.requirements) == 0 {
		suite.add(junitCase{Class: class, Name: "there is a verdict", Time: took}, o, answerOpen)
	}
	for _, r := range o.requirements {
		a := answerOpen
		if o.last != nil && o.failure == nil {
			a = r.judge(o.last.Verdict, o.hosts)
		}
		suite.add(junitCase{Class: class, Name: "requires " + r.text, Time: took}, o, a)
	}
	if st := o.last; st != nil {
		suite.Timestamp = st.Started.UTC().Format("2006-01-02T15:04:05")
		suite.Properties = append(suite.Properties, junitProperty{"test", xmlText(st.Test)}, junitProperty{"state", xmlText(string(st.State))}, junitProperty{"sender", xmlText(st.Sender)})
		if st.Verdict != nil {
			suite.Properties = append(suite.Properties, junitProperty{"policy", xmlText(st.Verdict.Policy)})
		}
		for _, f := range st.Finding {
			suite.Tests++
			suite.Skipped++
			suite.Cases = append(suite.Cases, junitCase{Class: class, Name: "finding: " + xmlText(f), Time: "0.000", Skipped: &junitMessage{Message: xmlText(f)}})
		}
	}
	return junitSuites{Name: "tlsink", Tests: suite.Tests, Failures: suite.Failures, Errors: suite.Errors, Time: took, Suites: []junitSuite{suite}}
}

// add adds a case with what came of it.
func (s *junitSuite) add(c junitCase, o testOutcome, a judgement) {
	s.Tests++
	conclusive := o.failure == nil && o.last != nil && o.last.Verdict != nil && o.last.Verdict.Conclusive
	why := "The test did not come to its end."
	switch {
	case o.failure != nil:
		why = xmlText(o.failure.Error())
	case o.last != nil:
		why = xmlText(verdictText(o.last))
	}
	switch {
	case a == answerNo:
		s.Failures++
		c.Failure = &junitMessage{Message: why, Type: "not met", Text: why + "\n" + missingText(o)}
	case a == answerYes, len(o.requirements) == 0 && conclusive:
		c.Out = why
	default:
		s.Errors++
		c.Error = &junitMessage{Message: why, Type: "undetermined", Text: why + "\n" + missingText(o)}
	}
	s.Cases = append(s.Cases, c)
}

// missingText names what else would have to be seen.
func missingText(o testOutcome) string {
	if o.last == nil || len(o.last.Missing) == 0 {
		return ""
	}
	return "Still missing: " + xmlText(strings.Join(o.last.Missing, "; ")) + "\n"
}

func hostOfServer(server string) string {
	if u, err := url.Parse(server); err == nil && u.Host != "" {
		return u.Hostname()
	}
	return "server"
}

// xmlText makes the words of others fit for XML 1.0 and for a terminal.
func xmlText(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return ' '
	}, s)
}
