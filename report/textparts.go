package report

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// answers is what everybody wants to know: is mail protected that I send, and
// mail that I receive?
func (b *textBuilder) answers(v view) {
	b.sub(strings.ToUpper(v.H.Sending) + ": " + v.Grade)
	b.WriteByte('\n')
	b.para(v.Lay)
	b.para(v.H.Admin + " " + v.Admin)
	b.para(v.H.Result + ": " + v.Policy + " (" + v.Grade + ")") // a line that scripts can find
	b.para(v.State)
	b.para(v.Forwarded)
	if v.Delivery != "" {
		b.para(v.H.NotMailed + ": " + v.Delivery)
	}
	in := v.Inbound
	if in == nil {
		return
	}
	b.sub(strings.ToUpper(v.H.Receiving) + ": " + in.Class)
	b.WriteByte('\n')
	b.para(in.Lay)
	b.para(in.Alarm)
	for _, s := range in.Standards {
		b.wrap(s.Name+": "+s.Lay, s.Mark.Plain()+" ", "    ")
	}
	for _, s := range in.Scores {
		b.wrap(s.Stars+" "+s.Name+": "+s.Value+".", "    ", "    ")
	}
	if len(in.Standards)+len(in.Scores) > 0 {
		b.wrap(v.H.Marks, "    ", "    ")
		b.WriteByte('\n')
	}
	if in.Admin != "" {
		b.para(v.H.Admin + " " + in.Admin)
	}
}

// next lists the steps.
func (b *textBuilder) next(v view) {
	if len(v.Advice)+len(v.InboundNext) == 0 {
		return
	}
	b.heading(v.H.Next, '-')
	for _, part := range []struct {
		heading string
		steps   []step
	}{{v.H.NextSending, v.Advice}, {v.H.NextReceiving, v.InboundNext}} {
		if len(part.steps) > 0 && len(v.InboundNext) > 0 {
			b.sub(part.heading)
		}
		for _, s := range part.steps {
			b.step(v.H, s)
		}
	}
}

func (b *textBuilder) step(h headings, s step) {
	text := s.Text
	if s.Title != "" {
		text = strings.TrimSpace(s.Title + ". " + text)
	}
	b.wrap(text, "- ", "  ")
	for _, setting := range s.Settings {
		b.wrap(setting.Name+":", "  ", "  ")
		for _, line := range setting.Lines {
			b.WriteString("      " + line + "\n") // is copied, so it stays in one piece
		}
	}
	if s.Ask != "" {
		b.wrap(h.Ask+" "+s.Ask, "  ", "  ")
	}
}

// sending is the evidence for the verdict.
func (b *textBuilder) sending(v view) {
	b.heading(v.H.SendingDetails, '-')
	for _, t := range v.Timelines {
		b.timeline(v.H, t)
	}
	b.sub(v.H.Unprotected)
	b.wrap(v.Unprotected, "  ", "  ")
	b.facts(v.H.Parts, v.Parts)
	b.facts(v.H.Hosts, v.Hosts)
	b.list(v.H.Provider, v.Provider)
	b.items(v.H.Findings, v.Findings)
	b.list(v.H.Missing, v.Missing)
	b.items(v.H.Reasons, v.Reasons)
	for _, d := range v.DNS {
		b.wrap(d, "- ", "  ")
	}
	b.list(v.H.LeftOut, v.LeftOut)
}

// timeline draws the test: time runs downwards.
func (b *textBuilder) timeline(h headings, t timeline) {
	b.sub(h.Timeline + ": " + t.Title)
	if t.Number == 0 {
		b.wrap(t.Summary, "  ", "  ")
	}
	b.WriteByte('\n')
	var names []string
	for _, l := range t.Lanes {
		names = append(names, l.Name)
	}
	b.moment(t.TimeName, t.OfferName, t.OrderName, names)
	for _, m := range t.Rows {
		var signs []string
		for _, c := range m.Cells {
			signs = append(signs, pad(c.Sign(), 1))
		}
		b.moment(m.Time, m.Offer, m.Order, signs)
	}
	b.WriteByte('\n')
	var signs []string
	for _, s := range t.Legend {
		signs = append(signs, s.Event.Sign()+" "+s.Text)
	}
	b.wrap(h.Legend+" "+strings.Join(signs, "; "), "  ", "    ")
	b.wrap(h.Lanes, "  ", "  ")
	for _, l := range t.Lanes {
		b.wrap(l.Text, "    "+l.Name+" ", "      ")
	}
	for _, n := range t.Notes {
		b.wrap(n, "  ", "  ")
	}
}

// moment writes one row of a timeline.
func (b *textBuilder) moment(when, offer, order string, cells []string) {
	line := "  " + pad(when, 13) + pad(offer, 10) + pad(order, 10) + strings.Join(cells, "   ")
	b.WriteString(strings.TrimRight(line, " ") + "\n")
}

func pad(s string, n int) string {
	return s + strings.Repeat(" ", max(n-utf8.RuneCountInString(s), 0))
}

// receiving is what was found out about the servers of the domain.
func (b *textBuilder) receiving(v view) {
	in := v.Inbound
	if in == nil || in.Domain == "" {
		return
	}
	b.heading(v.H.ReceivingDetails, '-')
	b.wrap(in.Looked, "", "")
	b.list(v.H.Faults, in.Faults)
	if len(in.Cards) > 0 {
		b.sub(v.H.Servers)
	}
	for _, c := range in.Cards {
		b.wrap(c.Names, "  "+c.Mark.Plain()+" ", "      ")
		if c.Addresses != "" {
			b.wrap(v.H.Addresses+": "+c.Addresses, "      ", "        ")
		}
		b.rows(c.Rows)
	}
	if in.Unshown != "" {
		b.wrap(in.Unshown, "  ", "  ")
	}
	if len(in.Versions) > 0 {
		b.sub(v.H.Versions)
	}
	for _, r := range in.Versions {
		b.wrap(fmt.Sprintf("%s: %s %s; %s %s", r.Name, v.H.AtLeastOne, r.One, v.H.All, r.All), "  ", "    ")
	}
	if in.Note != "" {
		b.wrap(in.Note, "  ", "  ")
	}
	b.ratings(v)
	if len(in.Records) > 0 {
		b.sub(v.H.Records)
	}
	for _, r := range in.Records {
		b.record(v.H, r)
	}
	b.list(v.H.Networks, in.Networks)
	b.list(v.H.NotLooked, in.LeftOut)
}

// ratings lists the rules, and what is open.
func (b *textBuilder) ratings(v view) {
	in := v.Inbound
	if len(in.Standards)+len(in.Scores) > 0 {
		b.sub(v.H.Ratings)
	}
	for _, s := range in.Standards {
		b.wrap(s.Name, "  "+s.Mark.Plain()+" ", "      ")
		b.wrap(v.H.Rule+" "+s.Rule, "      ", "      ")
		for _, o := range s.Open {
			b.wrap(o.Text, "      "+o.Mark.Plain()+" ", "          ")
		}
	}
	for _, s := range in.Scores {
		b.wrap(s.Name+": "+s.Value+". "+s.Note+" "+s.Partial, "      ", "      ")
	}
	if in.ScoreRule != "" {
		b.wrap(v.H.Rule+" "+in.ScoreRule, "      ", "      ")
	}
}

func (b *textBuilder) record(h headings, r record) {
	b.wrap(r.Name+": "+r.Lay, "  ", "  ")
	for _, a := range r.Answers {
		b.wrap(a.Text, "      "+a.Mark.Plain()+" ", "          ")
	}
	if r.Text != "" {
		b.wrap(h.Record+" "+r.Text, "      ", "      ")
	}
	for _, p := range r.Problems {
		b.wrap(p, "      ! ", "        ")
	}
}

// rows lists the answers, each with its mark: nothing rests on layout.
func (b *textBuilder) rows(rows []row) {
	for _, r := range rows {
		var parts []string
		for _, a := range r.Answers {
			parts = append(parts, strings.TrimPrefix(a.Mark.Plain()+" ", "[ ] ")+a.Text)
		}
		b.wrap(r.Name+": "+strings.Join(parts, "; "), "      ", "        ")
	}
}

// mail tells about the test mail itself.
func (b *textBuilder) mail(v view) {
	m := v.Mail
	if m == nil {
		return
	}
	b.heading(v.H.MailDetails, '-')
	b.wrap(m.Which, "", "")
	b.sub(v.H.Authentication)
	b.wrap(m.Lay, "  ", "  ")
	b.rows(m.Rows)
	if len(m.Path) == 0 {
		return
	}
	b.sub(v.H.Path)
	b.wrap(m.Claim, "  ", "  ")
	for _, h := range m.Path {
		b.wrap(h.Text, "  "+h.Mark.Plain()+" ", "      ")
		if h.How != "" {
			b.wrap(h.How, "      ", "      ")
		}
	}
}

func (b *textBuilder) about(v view) {
	b.heading(v.H.About, '-')
	wide := 0
	for _, f := range v.Facts {
		wide = max(wide, utf8.RuneCountInString(f.Name))
	}
	for _, f := range v.Facts {
		b.wrap(f.Value, pad(f.Name+":", wide+2), strings.Repeat(" ", wide+2))
	}
	b.WriteByte('\n')
	if v.Link != "" {
		b.WriteString(v.H.Page + ":\n" + v.Link + "\n\n")
	}
	b.para(v.H.Privacy)
	b.para(v.Engine)
}

func (b *textBuilder) list(heading string, list []string) {
	if len(list) == 0 {
		return
	}
	b.sub(heading)
	for _, s := range list {
		b.wrap(s, "- ", "  ")
	}
}

func (b *textBuilder) facts(heading string, facts []fact) {
	if len(facts) == 0 {
		return
	}
	b.sub(heading)
	for _, f := range facts {
		b.wrap(f.Name+": "+f.Value, "- ", "  ")
	}
}

func (b *textBuilder) items(heading string, items []item) {
	if len(items) == 0 {
		return
	}
	b.sub(heading)
	for _, i := range items {
		b.wrap(i.Text, "- ", "  ")
		if i.Evidence != "" {
			b.wrap(i.Evidence, "  ", "  ")
		}
	}
}

func (b *textBuilder) history(v view) {
	b.heading(v.H.History, '-')
	b.wrap(v.Connections+" "+v.H.UTC, "", "")
	for _, l := range v.History {
		if l.Gap != "" {
			b.WriteString("... " + l.Gap + " ...\n")
		}
		b.wrap(l.Head+": "+l.ID, "", "    ")
		if l.Notes != "" {
			b.wrap(l.Notes, "    ", "    ")
		}
		for _, m := range l.Mails {
			s := v.H.From + " " + m.From + " " + v.H.To + " " + m.To
			if m.Signatures != "" {
				s += " " + v.H.Signatures + " " + m.Signatures
			}
			b.wrap(s, "    ", "      ")
		}
	}
}
