// Package check has the answer to a question about a receiver: yes, no, or that
// it could not be tested, which is never a failure.
package check
