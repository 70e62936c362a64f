// Package rating puts what was found out about a domain into the grades that
// people know: SMTP-DANE, MTA-STS, qualified transport encryption, MECSA's stars
// and a colour. Each grade comes with its rule. It is pure.
package rating
