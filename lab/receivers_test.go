//go:build linux

package lab_test

import (
	"context"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"
)

// The classes of TLS that receivers offer.
const (
	tlsNone    = "none"    // no STARTTLS
	tlsModern  = "modern"  // 1.2 with forward secrecy, and 1.3
	tlsDefault = "default" // what the server does if told nothing
	tlsOld     = "old"     // 1.0 to 1.3, also without forward secrecy
	tls10Only  = "1.0"
	tls11Only  = "1.1"
	tls12Only  = "1.2"
	tls13Only  = "1.3"
	tlsNoFS    = "1.2, RSA key exchange" // no forward secrecy
	tlsDHE     = "1.2, DHE"              // forward secrecy without elliptic curves
	tlsRefuses = "554"                   // the greeting refuses everybody
)

// receiver is one SMTP server at one address, by its classes, and what must be
// found out about it.
type receiver struct {
	host, software string
	cert, tls      string
	mandatory      bool
	rsa            bool   // the key; else ECDSA
	want           string // as look writes it

	addr, addr6 string
	identity    identity
}

// receivers are all of the lab.
func receivers() []*receiver {
	return []*receiver{
		// Postfix
		{host: "modern.postfix.example", software: "postfix", cert: certGood, tls: tlsModern, want: "optional tls 1.3 1.2, fs, valid"},
		{host: "strict.postfix.example", software: "postfix", cert: certGood, tls: tlsModern, mandatory: true, want: "mandatory tls 1.3 1.2, fs, valid"},
		{host: "default.postfix.example", software: "postfix", cert: certGood, tls: tlsDefault, rsa: true, want: "optional tls 1.3 1.2 1.1 1.0, no fs, valid"},
		{host: "ecdsa.postfix.example", software: "postfix", cert: certGood, tls: tlsDefault, want: "optional tls 1.3 1.2 1.1 1.0, fs, valid"},
		{host: "old.postfix.example", software: "postfix", cert: certGood, tls: tlsOld, rsa: true, want: "optional tls 1.3 1.2 1.1 1.0, no fs, valid"},
		{host: "tls10.postfix.example", software: "postfix", cert: certGood, tls: tls10Only, rsa: true, want: "optional tls 1.0, fs, valid"},
		{host: "tls11.postfix.example", software: "postfix", cert: certGood, tls: tls11Only, rsa: true, want: "optional tls 1.1, fs, valid"},
		{host: "tls12.postfix.example", software: "postfix", cert: certGood, tls: tls12Only, want: "optional tls 1.2, fs, valid"},
		{host: "tls13.postfix.example", software: "postfix", cert: certGood, tls: tls13Only, want: "optional tls 1.3, fs, valid"},
		{host: "nofs.postfix.example", software: "postfix", cert: certGood, tls: tlsNoFS, rsa: true, want: "optional tls 1.2, no fs, valid"},
		{host: "dhe.postfix.example", software: "postfix", cert: certGood, tls: tlsDHE, rsa: true, want: "optional tls 1.2, fs, valid"},
		{host: "self.postfix.example", software: "postfix", cert: certSelf, tls: tlsModern, want: "optional tls 1.3 1.2, fs, untrusted"},
		{host: "expired.postfix.example", software: "postfix", cert: certExpired, tls: tlsModern, want: "optional tls 1.3 1.2, fs, dates"},
		{host: "name.postfix.example", software: "postfix", cert: certName, tls: tlsModern, want: "optional tls 1.3 1.2, fs, name"},
		{host: "incomplete.postfix.example", software: "postfix", cert: certIncomplete, tls: tlsModern, want: "optional tls 1.3 1.2, fs, untrusted"},
		{host: "private.postfix.example", software: "postfix", cert: certPrivate, tls: tlsModern, mandatory: true, want: "mandatory tls 1.3 1.2, fs, untrusted"},
		{host: "plain.postfix.example", software: "postfix", cert: certGood, tls: tlsNone, want: "no starttls"},
		{host: "refuses.postfix.example", software: "postfix", cert: certGood, tls: tlsRefuses, want: "not reached"},

		// Exim (GnuTLS)
		{host: "modern.exim.example", software: "exim", cert: certGood, tls: tlsModern, want: "optional tls 1.3 1.2, fs, valid"},
		{host: "strict.exim.example", software: "exim", cert: certGood, tls: tlsModern, mandatory: true, want: "mandatory tls 1.3 1.2, fs, valid"},
		{host: "default.exim.example", software: "exim", cert: certWildcard, tls: tlsDefault, rsa: true, want: "optional tls 1.3 1.2, no fs, valid"},
		{host: "tls10.exim.example", software: "exim", cert: certGood, tls: tls10Only, want: "optional tls 1.0, fs, valid"},
		{host: "tls12.exim.example", software: "exim", cert: certExpired, tls: tls12Only, rsa: true, want: "optional tls 1.2, no fs, dates"},
		{host: "tls13.exim.example", software: "exim", cert: certGood, tls: tls13Only, mandatory: true, want: "mandatory tls 1.3, fs, valid"},
		{host: "dhe.exim.example", software: "exim", cert: certGood, tls: tlsDHE, rsa: true, want: "optional tls 1.2, fs, valid"},
		{host: "nofs.exim.example", software: "exim", cert: certSelf, tls: tlsNoFS, rsa: true, want: "optional tls 1.2, no fs, untrusted"},
		{host: "commonname.exim.example", software: "exim", cert: certCommonName, tls: tlsModern, want: "optional tls 1.3 1.2, fs, name"},
		{host: "future.exim.example", software: "exim", cert: certFuture, tls: tlsModern, want: "optional tls 1.3 1.2, fs, dates"},
		{host: "plain.exim.example", software: "exim", cert: certGood, tls: tlsNone, want: "no starttls"},

		// OpenSMTPD
		{host: "good.smtpd.example", software: "smtpd", cert: certGood, tls: tlsDefault, want: "optional tls 1.3 1.2, fs, valid"},
		{host: "strict.smtpd.example", software: "smtpd", cert: certGood, tls: tlsDefault, mandatory: true, rsa: true, want: "mandatory tls 1.3 1.2, no fs, valid"},
		{host: "self.smtpd.example", software: "smtpd", cert: certSelf, tls: tlsDefault, want: "optional tls 1.3 1.2, fs, untrusted"},
		{host: "incomplete.smtpd.example", software: "smtpd", cert: certIncomplete, tls: tlsDefault, want: "optional tls 1.3 1.2, fs, untrusted"},
		{host: "oldroot.smtpd.example", software: "smtpd", cert: certOldRoot, tls: tlsDefault, want: "optional tls 1.3 1.2, fs, dates"},
		{host: "name.smtpd.example", software: "smtpd", cert: certName, tls: tlsDefault, want: "optional tls 1.3 1.2, fs, name"},
		{host: "plain.smtpd.example", software: "smtpd", cert: certGood, tls: tlsNone, want: "no starttls"},
	}
}

// newReceivers gives the receivers addresses and certificates.
func newReceivers(t testing.TB, p *pki) []*receiver {
	t.Helper()
	all := receivers()
	for i, r := range all {
		r.addr = fmt.Sprintf("192.0.2.%d", 130+i)
		r.addr6 = fmt.Sprintf("2001:db8::%d", 130+i)
		r.identity = p.identity(t, r.cert, r.host, r.rsa)
	}
	return all
}

// startReceivers starts their servers.
func startReceivers(ctx context.Context, t testing.TB, all []*receiver) {
	t.Helper()
	for software, start := range map[string]func(context.Context, testing.TB, node, []*receiver){
		"postfix": startPostfixReceivers,
		"exim":    startEximReceivers,
		"smtpd":   startOpenSMTPDReceivers,
	} {
		var own []*receiver
		var addrs []string
		for _, r := range all {
			if r.software == software {
				own, addrs = append(own, r), append(addrs, r.addr, r.addr6)
			}
		}
		n := newNode(t, software, addrs[0])
		n.also(t, addrs[1:]...)
		start(ctx, t, n, own)
	}
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	for _, r := range all {
		for _, addr := range []string{r.addr, r.addr6} {
			await(ctx, t, "the greeting of "+r.host, func(ctx context.Context) error { return greets(ctx, addr) })
		}
	}
}

// greets waits for the greeting of an SMTP server.
func greets(ctx context.Context, addr string) error {
	c, err := (&net.Dialer{}).DialContext(ctx, "tcp", net.JoinHostPort(addr, "25"))
	if err != nil {
		return err
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		return err
	}
	b := make([]byte, 512)
	n, err := c.Read(b)
	if err == nil && !strings.HasPrefix(string(b[:n]), "220 ") && !strings.HasPrefix(string(b[:n]), "554 ") {
		err = fmt.Errorf("greeting %q", b[:n])
	}
	return err
}

// Postfix: one instance, a service for each receiver.

const receiverMainCF = `compatibility_level = 3.6
queue_directory = %[1]s/spool
data_directory = %[1]s/state
maillog_file = %[1]s/postfix.log
maillog_file_prefixes = /run
myhostname = postfix.example
mydestination =
mynetworks = 127.0.0.0/8
inet_protocols = all
inet_interfaces = all
smtputf8_enable = no
alias_maps =
alias_database =
# everybody may write to everybody, and it goes nowhere
relay_domains = static:all
relay_transport = discard
smtpd_peername_lookup = no
smtpd_tls_loglevel = 1
# OpenSSL of Debian does TLS 1.0 and 1.1 only if nothing is secure enough to it.
tls_low_cipherlist = ALL:!aNULL:@SECLEVEL=0
`

func startPostfixReceivers(ctx context.Context, t testing.TB, n node, list []*receiver) {
	t.Helper()
	_, services, _ := strings.Cut(masterCF, "\n") // without its own listener
	for _, r := range list {
		chain, key := r.identity.pem(t)
		file := n.file(t, r.host+".pem", key+chain)
		options := append(postfixTLS(r), "myhostname="+r.host, "smtpd_tls_chain_files="+file)
		for _, addr := range []string{r.addr, "[" + r.addr6 + "]"} {
			services += fmt.Sprintf("%s:25 inet n - n - - smtpd\n", addr)
			for _, o := range options {
				services += "  -o " + o + "\n"
			}
		}
	}
	for _, dir := range []string{"spool", "state", "etc"} {
		command(t, "mkdir", n.path(dir))
	}
	n.file(t, "etc/main.cf", fmt.Sprintf(receiverMainCF, n.dir))
	n.file(t, "etc/master.cf", services)
	command(t, "chown", "postfix", n.path("state"))
	start := n.in("postfix", "-c", n.path("etc"), "start")
	command(t, start[0], start[1:]...)
	t.Cleanup(func() {
		if _, err := output(context.WithoutCancel(ctx), "", "postfix", "-c", n.path("etc"), "abort"); err != nil {
			t.Logf("stop Postfix: %v", err)
		}
	})
	keep(t, n.path("postfix.log"))
}

// postfixTLS are the options of a class.
func postfixTLS(r *receiver) []string {
	level := "may"
	if r.mandatory {
		level = "encrypt"
	}
	options := map[string][]string{
		tlsNone:    {"smtpd_tls_security_level=none"},
		tlsRefuses: {"smtpd_tls_security_level=may", "smtpd_delay_reject=no", "smtpd_client_restrictions=reject"},
		tlsModern:  {"smtpd_tls_protocols=>=TLSv1.2", "smtpd_tls_mandatory_protocols=>=TLSv1.2", "smtpd_tls_exclude_ciphers=kRSA", "smtpd_tls_mandatory_exclude_ciphers=kRSA"},
		tlsOld:     {"smtpd_tls_protocols=>=TLSv1", "smtpd_tls_ciphers=low"},
		tls10Only:  {"smtpd_tls_protocols=TLSv1", "smtpd_tls_ciphers=low", "smtpd_tls_exclude_ciphers=kRSA"},
		tls11Only:  {"smtpd_tls_protocols=TLSv1.1", "smtpd_tls_ciphers=low", "smtpd_tls_exclude_ciphers=kRSA"},
		tls12Only:  {"smtpd_tls_protocols=TLSv1.2"},
		tls13Only:  {"smtpd_tls_protocols=TLSv1.3"},
		tlsNoFS:    {"smtpd_tls_protocols=TLSv1.2", "smtpd_tls_exclude_ciphers=kECDHE,kDHE"},
		tlsDHE:     {"smtpd_tls_protocols=TLSv1.2", "smtpd_tls_exclude_ciphers=kECDHE,kRSA"},
	}[r.tls]
	if r.tls == tlsNone || r.tls == tlsRefuses {
		return options
	}
	return append(options, "smtpd_tls_security_level="+level)
}

// Exim: one daemon, whose options depend on the address that was called.

const eximReceiverConf = `primary_hostname = exim.example
daemon_smtp_ports = 25
local_interfaces = %[1]s
smtp_active_hostname = ${lookup{$received_ip_address}iplsearch{/etc/rx/hosts}}
tls_advertise_hosts = ${if eq{${lookup{$received_ip_address}iplsearch{/etc/rx/tls}}}{none}{}{*}}
tls_certificate = /etc/rx/${lookup{$received_ip_address}iplsearch{/etc/rx/hosts}}.crt
tls_privatekey = /etc/rx/${lookup{$received_ip_address}iplsearch{/etc/rx/hosts}}.key
tls_require_ciphers = ${lookup{$received_ip_address}iplsearch{/etc/rx/tls}}
host_lookup =
rfc1413_query_timeout = 0s
smtp_accept_max = 1000
smtp_accept_max_per_host = 0
smtp_accept_queue_per_connection = 0
queue_only
acl_smtp_mail = mail
acl_smtp_rcpt = rcpt
acl_smtp_data = data

begin acl
mail:
  deny message = 530 5.7.0 Must issue a STARTTLS command first
    condition = ${lookup{$received_ip_address}iplsearch{/etc/rx/mandatory}{yes}{no}}
    !encrypted = *
  accept
rcpt:
  accept
data:
  deny message = nothing is taken here

begin routers
nowhere:
  driver = redirect
  data = :blackhole:
`

func startEximReceivers(ctx context.Context, t testing.TB, n node, list []*receiver) {
	t.Helper()
	b := &box{node: n}
	ca := n.file(t, "none.pem", "")
	if err := b.open(ca, "Debian-exim"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.close(); err != nil {
			t.Error(err)
		}
	})
	var addrs []string
	var hosts, tlsOf, mandatory strings.Builder
	write := func(name, text string) {
		if err := b.write(name, text, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, r := range list {
		chain, key := r.identity.pem(t)
		write("/etc/rx/"+r.host+".crt", chain)
		write("/etc/rx/"+r.host+".key", key)
		for _, addr := range []string{r.addr, r.addr6} {
			addrs = append(addrs, addr)
			fmt.Fprintf(&hosts, "%q: %s\n", addr, r.host)
			fmt.Fprintf(&tlsOf, "%q: %s\n", addr, gnuTLS(r.tls))
			if r.mandatory {
				fmt.Fprintf(&mandatory, "%q: yes\n", addr)
			}
		}
	}
	write("/etc/rx/hosts", hosts.String())
	write("/etc/rx/tls", tlsOf.String())
	write("/etc/rx/mandatory", mandatory.String())
	write("/etc/rx/exim.conf", fmt.Sprintf(eximReceiverConf, "<; "+strings.Join(addrs, " ; ")))
	if err := b.makeDirs(serverUID, "/var/spool/exim4", "/var/log/exim4", "/run/exim4"); err != nil {
		t.Fatal(err)
	}
	d := b.start(t, nil, "/usr/sbin/exim4", "-bdf", "-C", "/etc/rx/exim.conf")
	keep(t, d.log)
}

// gnuTLS is the priority string of a class.
func gnuTLS(class string) string {
	return map[string]string{
		tlsNone:    "none",
		tlsModern:  "NORMAL:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2:-RSA",
		tlsDefault: "SECURE128:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2",
		tls10Only:  "NORMAL:-VERS-ALL:+VERS-TLS1.0:-RSA",
		tls12Only:  "NORMAL:-VERS-ALL:+VERS-TLS1.2",
		tls13Only:  "NORMAL:-VERS-ALL:+VERS-TLS1.3",
		tlsNoFS:    "NORMAL:-VERS-ALL:+VERS-TLS1.2:-KX-ALL:+RSA",
		tlsDHE:     "NORMAL:-VERS-ALL:+VERS-TLS1.2:-KX-ALL:+DHE-RSA",
	}[class]
}

// OpenSMTPD: one daemon, a listener for each receiver.

func startOpenSMTPDReceivers(_ context.Context, t testing.TB, n node, list []*receiver) {
	t.Helper()
	b := &box{node: n}
	ca := n.file(t, "none.pem", "")
	if err := b.open(ca, "opensmtpd", "opensmtpq"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.close(); err != nil {
			t.Error(err)
		}
	})
	var pkis, listeners string
	for _, r := range list {
		chain, key := r.identity.pem(t)
		for file, text := range map[string]string{".crt": chain, ".key": key} {
			if err := b.write("/etc/rx/"+r.host+file, text, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		pkis += fmt.Sprintf("pki %[1]s cert \"/etc/rx/%[1]s.crt\"\npki %[1]s key \"/etc/rx/%[1]s.key\"\n", r.host)
		for _, addr := range []string{r.addr, r.addr6} {
			listeners += "listen on " + addr + " port 25 hostname " + r.host
			switch {
			case r.mandatory:
				listeners += " tls-require pki " + r.host
			case r.tls != tlsNone:
				listeners += " tls pki " + r.host
			}
			listeners += "\n"
		}
	}
	for name, text := range map[string]string{
		"/etc/smtpd.conf": pkis + listeners + "action \"nowhere\" relay\nmatch from any for any action \"nowhere\"\n",
		"/etc/mailname":   "smtpd.example\n",
		"/etc/aliases":    "",
	} {
		if err := b.write(name, text, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.makeDirs(0, "/var/lib/opensmtpd/empty", "/var/spool"); err != nil {
		t.Fatal(err)
	}
	d := b.start(t, nil, "/usr/sbin/smtpd", "-F")
	keep(t, d.log)
}
