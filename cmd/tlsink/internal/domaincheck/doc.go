// Package domaincheck is the command that analyses domains as receivers: options,
// progress, and the result on a terminal or as JSON Lines. What is looked at and
// how it is graded is in inbound and rating.
package domaincheck
