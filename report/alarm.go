package report

import (
	"github.com/tlsink/tlsink/inbound"
	"github.com/tlsink/tlsink/rating"
)

// alarm is what people have to know before any rating: what they publish keeps
// mail from arriving. It is empty if nothing does.
func (r receiver) alarm() string {
	if r.a.Route != inbound.RouteMX && r.a.Route != inbound.RouteImplicit {
		return ""
	}
	_, forged := r.bogus()
	enforced := r.a.MTASTS.Policy.OK() && r.a.MTASTS.Mode == "enforce"
	_, unlisted := r.policyBroken()
	if !forged && len(r.failed(rating.TLSAMatch)) == 0 && (!enforced || !unlisted && !r.unfit()) {
		return ""
	}
	return phrase{
		"Attention: mail from some senders may not arrive at present. The next steps for mail that you receive say what to do about that.",
		"Achtung: E-Mails mancher Absender kommen derzeit vielleicht nicht an. Was dagegen zu tun ist, steht unter den nächsten Schritten für E-Mails, die Sie empfangen.",
	}.in(r.l)
}
