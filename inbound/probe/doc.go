// Package probe looks at one SMTP server from outside: does it offer STARTTLS,
// does it insist on it, which TLS versions and suites does it take, and which
// certificate does it show.
package probe
