package web

import (
	"net/http"
	"net/mail"
	"net/url"
)

// privacyPage is what the templates of the privacy page see.
type privacyPage struct {
	Privacy
	ContactLink                   string // address of Contact; may be empty
	Keep, Waiting, Kept           string
	Requests, Starts, Connections int
	Lease                         bool
}

// privacy tells what is kept, for how long, and who does it: from the settings
// that this service runs with.
func (s *Server) privacy(w http.ResponseWriter, r *http.Request) {
	around, p := wordsOf(chosen(r)), s.o.Privacy
	s.write(w, http.StatusOK, page{Title: around.PrivacyTitle, Words: around, Other: otherOf(r, around), Privacy: &privacyPage{
		Privacy: p, ContactLink: contactLink(p.Contact), Keep: around.span(p.Retention), Waiting: around.span(p.Wait), Kept: around.span(p.Quarantine),
		Requests: s.o.Limits.PagesPerMinute, Starts: s.o.Limits.StartsPerHour, Connections: s.o.Limits.PerClient, Lease: s.o.Leases != nil,
	}})
}

// contactLink is the address of a contact that is a mail address or an https URL.
func contactLink(contact string) string {
	if u, err := url.Parse(contact); err == nil && u.Scheme == "https" && u.Host != "" {
		return contact
	}
	if a, err := mail.ParseAddress(contact); err == nil && a.Name == "" {
		return "mailto:" + a.Address
	}
	return ""
}
