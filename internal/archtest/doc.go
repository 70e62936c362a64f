// Package archtest holds the tests of the shape of the program: which package
// may import which, and the house rules that no linter checks. It has no code
// of its own.
//
// The tests parse the source tree and nothing else: no go command, no network,
// and files behind build tags count like any other. Nested modules, testdata
// and generated files are left out.
package archtest
