// Package follow is the commands that go with a test from outside, over the HTTP
// API: watch shows it, test runs one for cron and CI and exits by its verdict.
package follow
