// Package packaging holds what tlsink is shipped with: the Debian package
// (deb), the systemd unit (systemd), and the lab of docker-compose.yml (lab).
// Its code is tests only: they build the binary and really use what can be used
// without a Docker engine and without systemd as process 1.
//
//	binary_test.go   static; serves in an empty root, in each way to get low ports
//	systemd_test.go  the unit is valid, and how exposed systemd finds it
//	debian_test.go   installed, run and removed by dpkg, in a root of its own
//	compose_test.go  the compose file, every profile; the shell scripts
//	lab_test.go      the containers' scripts and settings, in network namespaces
//
// Those that build or need privileges run with TLSINK_LAB=1, like the tests in
// lab; with TLSINK_LAB=require a missing program or privilege is a failure.
package packaging
