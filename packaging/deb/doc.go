// Command deb packs a static tlsink binary as a Debian package, by the standard
// library alone:
//
//	go run ./packaging/deb -binary bin/tlsink -o dist
//
// A Debian package (deb(5)) is an ar archive of three members:
//
//	debian-binary    the version of the format
//	control.tar.gz   the package's description, checksums, and what dpkg runs
//	data.tar.gz      the files that it installs
//
// The same input makes the same octets: all times are that of the commit that
// the binary was built from, all owners are root, all lists are sorted.
//
// Nothing below /etc is shipped but the folder: the configuration is the
// administrator's, an upgrade never asks about it. The service is not started
// before there is one.
package main
