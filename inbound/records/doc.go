// Package records reads what a domain publishes about its mail in DNS, and its
// MTA-STS policy: is it there, is it right.
package records
