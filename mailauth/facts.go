package mailauth

import (
	"io"
	"mime"
	"net/mail"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/emersion/go-message/textproto"

	"github.com/tlsink/tlsink/evidence"
	"github.com/tlsink/tlsink/received"
	"github.com/tlsink/tlsink/scenario"
)

// facts fills tx from the header, and returns the rest that is kept.
func (i *Inspector) facts(h textproto.Header, tx *evidence.Transaction) *evidence.Message {
	from, to, cc := addresses(h, "From"), addresses(h, "To"), addresses(h, "Cc")
	tx.Addressed = nil
	for _, a := range slices.Concat(to, cc) {
		if i.ours(a) && !slices.Contains(tx.Addressed, a) && len(tx.Addressed) < maxAddresses {
			tx.Addressed = append(tx.Addressed, a)
		}
	}
	tx.MessageID = messageID(h)
	tx.TLSRequiredNo = tlsRequiredNo(h)
	path, leftOut := received.Path(h.Values("Received"))
	return &evidence.Message{
		From:      i.bounded(from),
		To:        i.bounded(to),
		Cc:        i.bounded(cc),
		Date:      date(h),
		Language:  language(h),
		Automatic: i.automatic(h, from, tx.MailFrom),
		ARC:       h.Has("ARC-Seal"), // RFC 8617 §4.1.3
		Received:  received.Public(path), ReceivedLeftOut: leftOut,
	}
}

// tlsRequiredNo reports whether the author wants a mail delivered without
// protection rather than not at all.
func tlsRequiredNo(h textproto.Header) bool {
	return slices.ContainsFunc(h.Values("TLS-Required"), func(v string) bool {
		// RFC 8689 §5: the only value is No.
		return strings.EqualFold(strings.TrimSpace(v), "no")
	})
}

// ours reports whether an address is one of our test recipients: en or de, with
// or without detail (RFC 5233), at et or ut of slot 0; a token at another slot.
func (i *Inspector) ours(address string) bool {
	local, domain := split(address)
	t, ok := scenario.Find(i.zone, domain)
	if !ok || t.Slot >= i.slots || (t.Role != scenario.RoleET && t.Role != scenario.RoleUT) {
		return false
	}
	if t.Slot > 0 {
		_, token := scenario.ParseToken(local)
		return token
	}
	user, _, _ := strings.Cut(strings.ToLower(local), "+")
	return user == "en" || user == "de"
}

// bounded returns at most maxAddresses of a list; of a longer one, our own
// addresses first.
func (i *Inspector) bounded(list []string) []string {
	if len(list) <= maxAddresses {
		return list
	}
	list = slices.Clone(list)
	slices.SortStableFunc(list, func(a, b string) int {
		switch {
		case i.ours(a) == i.ours(b):
			return 0
		case i.ours(a):
			return -1
		}
		return 1
	})
	return list[:maxAddresses]
}

// split cuts an address at its last @; without one there is no domain.
func split(address string) (local, domain string) {
	at := strings.LastIndexByte(address, '@')
	if at < 0 {
		return address, ""
	}
	return address[:at], address[at+1:]
}

// once returns the value of a field that may occur once; "" if it is absent,
// repeated or too long to be honest.
func once(h textproto.Header, key string) string {
	v := h.Values(key)
	if len(v) != 1 || len(v[0]) > maxHeader/4 {
		return ""
	}
	return v[0]
}

// addresses returns the addresses of a field, their domains in lower case;
// none if it is repeated or cannot be parsed.
func addresses(h textproto.Header, key string) []string {
	value := once(h, key)
	if value == "" {
		return nil
	}
	// Display names are not kept, so their charset does not matter.
	p := mail.AddressParser{WordDecoder: &mime.WordDecoder{CharsetReader: func(_ string, _ io.Reader) (io.Reader, error) {
		return strings.NewReader("?"), nil
	}}}
	list, err := p.ParseList(strings.ToValidUTF8(value, "?"))
	if err != nil {
		return nil
	}
	var out []string
	for _, a := range list {
		local, domain := split(a.Address)
		address := local + "@" + scenario.Canonical(domain)
		if domain != "" && address == clean(address, maxAddress) {
			out = append(out, address)
		}
	}
	return out
}

// messageID returns the Message-ID as written, with its angle brackets; "" if
// there is not exactly one that makes sense.
func messageID(h textproto.Header) string {
	id := strings.TrimSpace(once(h, "Message-Id"))
	if id != clean(id, maxMessageID) || strings.ContainsAny(id, " \t") || id == "<>" {
		return ""
	}
	return id
}

// date returns the Date in UTC; zero if there is not exactly one valid.
func date(h textproto.Header) time.Time {
	t, err := mail.ParseDate(once(h, "Date"))
	if err != nil || t.Year() < 1970 || t.Year() > 9990 {
		return time.Time{}
	}
	return t.UTC()
}

// language returns the language that the author writes (RFC 3282), or else
// reads, as a tag such as "de-DE".
func language(h textproto.Header) string {
	for _, key := range []string{"Content-Language", "Accept-Language", "X-Accept-Language"} {
		tag, _, _ := strings.Cut(h.Get(key), ",")
		tag, _, _ = strings.Cut(tag, ";")
		tag = strings.TrimSpace(tag)
		odd := func(r rune) bool {
			return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '-'
		}
		if tag != "" && len(tag) <= 35 && !strings.ContainsFunc(tag, odd) {
			return tag
		}
	}
	return ""
}

// automatic returns why a message must not be answered, or "".
func (i *Inspector) automatic(h textproto.Header, from []string, mailFrom string) string {
	// RFC 3834 §5: any value but no, whatever parameters follow.
	for _, v := range h.Values("Auto-Submitted") {
		keyword, _, _ := strings.Cut(v, ";")
		if !strings.EqualFold(strings.TrimSpace(keyword), "no") {
			return clean("Auto-Submitted: "+v, maxText)
		}
	}
	// RFC 3834 §2: lists, and what older software marks.
	for _, v := range h.Values("Precedence") {
		if slices.Contains([]string{"bulk", "junk", "list", "auto_reply"}, strings.ToLower(strings.TrimSpace(v))) {
			return clean("Precedence: "+v, maxText)
		}
	}
	for f := h.Fields(); f.Next(); {
		key := strings.ToLower(f.Key())
		if strings.HasPrefix(key, "list-") || slices.Contains([]string{"x-loop", "x-autoreply", "x-autorespond"}, key) {
			return clean(f.Key(), maxText)
		}
	}
	// RFC 6522: bounces and other reports, also those with a sender.
	if t, _, _ := strings.Cut(h.Get("Content-Type"), ";"); strings.EqualFold(strings.TrimSpace(t), "multipart/report") {
		return "Content-Type: multipart/report"
	}
	for _, a := range append([]string{mailFrom}, from...) {
		_, domain := split(a)
		if d := scenario.Canonical(domain); d == i.zone || strings.HasSuffix(d, "."+i.zone) {
			return "from this sink"
		}
	}
	return ""
}

// clean returns s as valid UTF-8 without control characters, at most limit
// octets.
func clean(s string, limit int) string {
	s = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return -1
		}
		return r
	}, strings.ToValidUTF8(s, "?"))
	if len(s) <= limit {
		return s
	}
	for limit > 0 && !utf8.RuneStart(s[limit]) {
		limit--
	}
	return s[:limit]
}
