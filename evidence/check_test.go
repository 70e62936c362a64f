package evidence_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/tlsink/tlsink/evidence"
)

const (
	testLine = `{"type":"test","id":"x","zone":"z.example","started":"2026-01-01T00:00:00Z"}` + "\n"
	connLine = `{"type":"connection","id":"7","start":"2026-01-01T00:00:01Z","end":"2026-01-01T00:00:02Z","client":"192.0.2.10:37690","local":"192.0.2.25:25",` +
		`"phase":"secure","starttls_offered":true,"ehlo":true,"server":4,"destination":"et","helo":["mta"],"starttls":true,` +
		`"tls":{"sni":"mx04.et.z.example","client_versions":["1.3"],"version":"1.3","cipher":null,"stage":"finished","complete":true,"certificate":"self-signed","alert":null,"error":null},` +
		`"mail_from":"a@b.example","rcpt_to":["en@et.z.example"],"data":true,"addressed":[],` +
		`"transactions":[{"mail_from":"a@b.example","rcpt_to":["en@et.z.example"],"data":true,"reply":451,"tls":true,"addressed":[]}],` +
		`"replies":["220","250"],"status":"Mail","ending":"quit"}` + "\n"
)

// with returns connLine with a field replaced; tls.stage is the field of a
// field, and tx.reply one of the first transaction. A nil value leaves it out.
func with(t *testing.T, changes ...any) string {
	t.Helper()
	var c map[string]any
	if err := json.Unmarshal([]byte(connLine), &c); err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(changes); i += 2 {
		in, key := c, changes[i].(string)
		if rest, ok := strings.CutPrefix(key, "tls."); ok {
			in, key = c["tls"].(map[string]any), rest
		} else if rest, ok := strings.CutPrefix(key, "tx."); ok {
			in, key = c["transactions"].([]any)[0].(map[string]any), rest
		}
		if in[key] = changes[i+1]; changes[i+1] == nil {
			delete(in, key)
		}
	}
	b, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	return testLine + string(b) + "\n"
}

// A history that makes no sense is refused, with the line and the field.
func TestReadHistoryRefuses(t *testing.T) {
	checkRefused(t, map[string]refused{
		"nothing":               {"", "empty history"},
		"only empty lines":      {"\n \n", "empty history"},
		"no test":               {connLine, `line 1: type: "connection"; the first line, and only it, must be the test`},
		"no type":               {testLine + "{}\n", "line 2: type: missing"},
		"second test":           {testLine + testLine, `line 2: type: "test"`},
		"not JSON":              {testLine + "\nhello\n", "line 3: not JSON: invalid character 'h'"},
		"truncated line":        {testLine + connLine[:200], "line 2: not JSON: unexpected end"},
		"trailing garbage":      {testLine + strings.TrimSpace(connLine) + "x\n", "line 2: not JSON: invalid character 'x' after"},
		"two records on a line": {testLine + strings.TrimSpace(connLine) + connLine, "line 2: not JSON"},
		"list":                  {"[1,2]", "line 1: array; want an object"},
		"not UTF-8":             {testLine + "{\"type\":\"query\",\"name\":\"\xff\"}", "line 2: not UTF-8"},
		"NUL":                   {testLine + "{\"type\":\"query\x00\"}", "line 2: not JSON"},
		"endless line":          {testLine + strings.Repeat("x", evidence.MaxLine+1), "line 2: longer than"},
		"no zone":               {`{"type":"test","id":"x"}`, "line 1: zone: missing; want"},
		"zone is no name":       {`{"type":"test","zone":"sink example"}`, `line 1: zone: "sink example" is not a domain name`},
		"empty label":           {`{"type":"test","zone":"sink..example"}`, "line 1: zone:"},
		"negative slot":         {`{"type":"test","zone":"z.example","slot":-1}`, "line 1: slot"},
		"slot is text":          {`{"type":"test","zone":"z.example","slot":"1"}`, "line 1: slot: string; want a whole number"},
		"huge slot":             {`{"type":"test","zone":"z.example","slot":1e30}`, "line 1: slot: number 1e30; want a whole number"},
		"bad duration":          {`{"type":"test","zone":"z.example","timing":{"settle":"soon"}}`, "line 1: timing.settle: time: invalid duration"},
		"duration is a number":  {`{"type":"test","zone":"z.example","timing":{"silence":10}}`, "line 1: timing.silence: duration 10: want a string"},
		"negative duration":     {`{"type":"test","zone":"z.example","timing":{"margin":"-1s"}}`, "line 1: timing.margin: duration \"-1s\" is negative"},
		"bad time":              {testLine + `{"type":"query","time":"yesterday"}`, "line 2: time: parsing time"},
		"query without time":    {testLine + `{"type":"query","name":"et.z.example."}`, "line 2: time: missing"},
		"fetch without time":    {testLine + `{"type":"policy_fetch"}`, "line 2: time: missing"},
		"fetch with status":     {testLine + `{"type":"policy_fetch","time":"2026-01-01T00:00:00Z","status":-1}`, "line 2: status: -1 is not"},
		"state without time":    {testLine + `{"type":"state","mx":{}}`, "line 2: time: missing"},
		"state with phase":      {testLine + `{"type":"state","time":"2026-01-01T00:00:00Z","phase":"calm"}`, `line 2: phase: "calm" is unknown; want downgrade, secure`},
		"negative preference":   {testLine + `{"type":"state","time":"2026-01-01T00:00:00Z","mx":{"mx03":-5}}`, "line 2: mx.mx03: -5 is not a preference"},
		"fault from later":      {testLine + `{"type":"state","time":"2026-01-01T00:00:00Z","broken":"mx05","broken_since":"2026-01-01T00:00:01Z"}`, "line 2: broken_since:"},
		"no fault":              {testLine + `{"type":"state","time":"2026-01-01T00:00:00Z","unverifiable_since":"2026-01-01T00:00:00Z"}`, "line 2: unverifiable: missing"},
		"escape sequences":      {testLine + `{"type":"state","time":"2026-01-01T00:00:00Z","unverifiable":"\u001b[2J"}`, "line 2: unverifiable:"},
	})
}

func TestReadHistoryRefusesConnections(t *testing.T) {
	plain := []any{"starttls", false, "tls", nil, "tx.tls", false}
	checkRefused(t, map[string]refused{
		"no id":                 {with(t, "id", nil), "line 2: id: missing"},
		"long id":               {with(t, "id", strings.Repeat("7", 300)), "line 2: id: 300 octets"},
		"control in id":         {with(t, "id", "\x1b[2J"), "line 2: id: "},
		"same id twice":         {testLine + connLine + connLine, `line 3: connection "7": id: line 2 has the same`},
		"no start":              {with(t, "start", nil), `line 2: connection "7": start: missing`},
		"start is no time":      {with(t, "start", "noon"), "line 2: start: parsing time"},
		"ends before it starts": {with(t, "end", "2025-01-01T00:00:00Z"), `line 2: connection "7": end: 2025-01-01T00:00:00Z is before start`},
		"no client":             {with(t, "client", nil), `line 2: connection "7": client: ""; want address:port`},
		"client is a name":      {with(t, "client", "mta.example:25"), `client: "mta.example:25"; want address:port`},
		"phase":                 {with(t, "phase", "??"), `phase: "??" is unknown; want downgrade, secure`},
		"server":                {with(t, "server", 8), "server: 8; want 1 to 7"},
		"destination":           {with(t, "destination", "mx04"), "destination: \"mx04\" is unknown; want et, ut, unknown"},
		"status":                {with(t, "status", "acked"), "status: \"acked\" is unknown; want None, SniSeen,"},
		"ending":                {with(t, "ending", "vanished"), "ending: \"vanished\" is unknown; want quit, alert, close_notify,"},
		"attribution":           {with(t, "attribution", "guess"), "attribution: \"guess\" is unknown; want mail, address, slot"},
		"verbs":                 {with(t, "verbs", []string{"EHLO"}), "verbs: 1 of them, but 2 replies"},
		"verb":                  {with(t, "verbs", []string{"", "EHLO\x1b[2J"}), "verbs: \"EHLO\\x1b[2J\" has control characters"},
		"suites":                {with(t, "tls.client_suites", make([]string, 65)), "tls.client_suites: 65 of them; want 64 at most"},
		"suite":                 {with(t, "tls.client_curves", []string{strings.Repeat("x", 201)}), "tls.client_curves: \"xxx"},
		"reply code":            {with(t, "replies", []string{"220", "2x0"}), "replies: \"2x0\" is not a reply code"},
		"bool is a number":      {with(t, "ehlo", 1), "line 2: ehlo: number; want a bool"},
		"list is text":          {with(t, "helo", "mta"), "line 2: helo: string; want a list"},
		"object is text":        {with(t, "tls", "yes"), "line 2: tls: string; want an object"},

		"stage":                      {with(t, "tls.stage", "done", "tls.complete", false), "tls.stage: \"done\" is unknown; want before-certificate, certificate, finished"},
		"no stage":                   {with(t, "tls.stage", nil), "tls.stage: missing"},
		"complete before the end":    {with(t, "tls.stage", "before-certificate"), `tls.complete: true, but tls.stage is "before-certificate"`},
		"finished and not complete":  {with(t, "tls.complete", false), `tls.complete: false, but tls.stage is "finished"`},
		"certificate":                {with(t, "tls.certificate", "letsencrypt"), "tls.certificate: \"letsencrypt\" is unknown; want self-signed, ca, ca-default"},
		"no certificate":             {with(t, "tls.certificate", nil), "tls.certificate: missing"},
		"tlsa":                       {with(t, "tls.tlsa", "yes"), "tls.tlsa: \"yes\" is unknown; want match,"},
		"TLS that was not offered":   {with(t, "starttls_offered", false), "tls: a handshake, but starttls_offered is false"},
		"TLS without STARTTLS":       {with(t, "starttls", false), "tls: a handshake, but starttls is false"},
		"TLS in the status only":     {with(t, append(plain, "status", "TlsStarted")...), `status: "TlsStarted", but tls is null`},
		"mail inside no TLS":         {with(t, "starttls", false, "tls", nil), "transactions[0].tls: true, but no handshake was completed"},
		"mail inside unfinished TLS": {with(t, "tls.stage", "certificate", "tls.complete", false), "transactions[0].tls: true, but no handshake was completed"},
		"data without recipients":    {with(t, "tx.rcpt_to", []string{}), "transactions[0].data: true, but no recipient was accepted"},
		"reply to the message":       {with(t, "tx.reply", -451), "transactions[0].reply: -451 is not a reply code"},
		"status without mail":        {with(t, "mail_from", nil, "transactions", []any{}), `status: "Mail", but there was no MAIL`},
		"data without mail":          {with(t, "mail_from", nil, "transactions", []any{}, "status", "None"), "mail_from: null, but there was RCPT or DATA"},
		"time of a transaction":      {with(t, "tx.time", "later"), "line 2: transactions[0].time: parsing time"},
		"number of a transaction":    {with(t, "tx.reply", "451"), "reply: string; want a whole number"},
		"result of DMARC":            {with(t, "tx.message", map[string]any{"dmarc": map[string]any{"result": "maybe"}}), `transactions[0].message.dmarc.result: "maybe" is unknown; want pass, fail,`},
		"policy of DMARC":            {with(t, "tx.message", map[string]any{"dmarc": map[string]any{"policy": "drop"}}), `message.dmarc.policy: "drop" is unknown; want none, quarantine, reject`},
		"domain of From":             {with(t, "tx.message", map[string]any{"dmarc": map[string]any{"domain": "\x1b[2J"}}), `message.dmarc.domain: "\x1b[2J" has control characters`},
		"result of ARC":              {with(t, "tx.message", map[string]any{"arc_chain": map[string]any{"result": "softfail"}}), `message.arc_chain.result: "softfail" is unknown`},
		"sets of ARC":                {with(t, "tx.message", map[string]any{"arc_chain": map[string]any{"sets": 51}}), `message.arc_chain.sets: 51; want 0 to 50`},
		"reason of ARC":              {with(t, "tx.message", map[string]any{"arc_chain": map[string]any{"reason": strings.Repeat("x", 1001)}}), `message.arc_chain.reason: 1001 octets long; want 1000 at most`},
		"hops":                       {with(t, "tx.message", map[string]any{"received": make([]any, 101)}), `message.received: 101 hops; want 100 at most`},
		"hops left out":              {with(t, "tx.message", map[string]any{"received_left_out": -1}), `message.received_left_out: -1 is negative`},
		"hop without claim":          {with(t, "tx.message", map[string]any{"received": []any{map[string]any{"by": "mx.example"}}}), `message.received[0].claim: missing; want encrypted,`},
		"claim of a hop":             {with(t, "tx.message", map[string]any{"received": []any{map[string]any{"claim": "none"}, map[string]any{"claim": "tls"}}}), `message.received[1].claim: "tls" is unknown`},
		"name of a hop":              {with(t, "tx.message", map[string]any{"received": []any{map[string]any{"claim": "none", "from": "a\nb"}}}), `message.received[0].from: "a\nb" has control characters`},
		"time of a hop":              {with(t, "tx.message", map[string]any{"received": []any{map[string]any{"claim": "none", "time": "then"}}}), `line 2: transactions[0].message.received[0].time: parsing time`},
		"out of TLS again": {with(t, "transactions", []any{
			map[string]any{"rcpt_to": []string{"en@et.z.example"}, "tls": true, "data": true},
			map[string]any{"rcpt_to": []string{"en@et.z.example"}, "data": true},
		}), "transactions[1].tls: false, but an earlier one was inside TLS"},
	})
}

// refused is a history, and what the error must say.
type refused struct{ in, want string }

func checkRefused(t *testing.T, cases map[string]refused) {
	t.Helper()
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			_, err := evidence.ReadHistory(strings.NewReader(c.in))
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want one with %q", err, c.want)
			}
		})
	}
}

// What is only for people, or can be taken for unknown, may be missing or odd.
func TestReadHistoryTolerates(t *testing.T) {
	for name, in := range map[string]string{
		"as it is":              testLine + connLine,
		"no newline at the end": testLine + strings.TrimSpace(connLine),
		"CRLF":                  strings.ReplaceAll(testLine+connLine, "\n", "\r\n"),
		"empty lines":           testLine + "\n" + connLine + "\n\n",
		"only the test":         testLine,
		"zone as people write":  strings.Replace(testLine, "z.example", "Z.Example.", 1) + connLine,
		"no id of the test":     `{"type":"test","zone":"z.example"}` + "\n" + connLine,
		"no end":                with(t, "end", nil),
		"no phase":              with(t, "phase", nil),
		"no status":             with(t, "status", nil),
		"no ending":             with(t, "ending", nil),
		"no destination":        with(t, "destination", nil),
		"no server":             with(t, "server", nil),
		"no transactions":       with(t, "transactions", nil),
		"SNI of another zone":   with(t, "tls.sni", "mail.example.org"),
		"a HELO":                with(t, "ehlo", false),
		"odd names":             with(t, "helo", []string{"\x00", strings.Repeat("x", 5000)}),
		"before the test":       with(t, "start", "2020-01-01T00:00:00Z"),
		"attribution by slot":   with(t, "attribution", "slot", "verbs", []string{"", "EHLO"}, "tls.client_suites", []string{"0x1301"}),
		"null sender":           with(t, "mail_from", "", "tx.mail_from", ""),
		"not in order":          testLine + strings.Replace(connLine, `"id":"7"`, `"id":"8"`, 1) + with(t, "start", "2020-01-01T00:00:00Z")[len(testLine):],
		"refused by our side": with(t, "starttls", false, "tls", nil, "transactions", []any{}, "mail_from", nil, "rcpt_to", nil, "data", false, "status", "None",
			"ending", "server", "replies", []string{"421"}),
		"no handshake after all": with(t, "tls.stage", "before-certificate", "tls.complete", false, "tls.certificate", nil, "transactions", []any{}, "mail_from", nil,
			"rcpt_to", nil, "data", false, "status", "None"),
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := evidence.ReadHistory(strings.NewReader(in)); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestReadHistoryIsBounded(t *testing.T) {
	blank := strings.Repeat(" ", evidence.MaxLine-100) + "\n"
	_, err := evidence.ReadHistory(strings.NewReader(testLine + strings.Repeat(blank, evidence.MaxOctets/len(blank)+1)))
	if err == nil || !strings.Contains(err.Error(), "octets in all") {
		t.Errorf("error %v, want one about the size of all", err)
	}
}
