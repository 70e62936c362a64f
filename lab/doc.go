// Package lab tests tlsink as a whole against real mail servers: a process of
// its own on the real ports, a validating unbound, and unmodified Postfix, Exim
// and chasquid of Debian that differ only in their settings. It has tests only,
// for Linux, as root:
//
//	lab/servers.sh DIR
//	TLSINK_LAB=1 TLSINK_LAB_SERVERS=DIR go test -v ./lab
//
// Without TLSINK_LAB they are skipped. With TLSINK_LAB=require a missing
// program or privilege is a failure. The first line downloads the packages of
// Exim and chasquid, which cannot be installed beside Postfix; without it these
// senders are left out.
//
// # Topology
//
// Each box is a network namespace with one address and the real ports. The
// test process routes between them and can reach all of them.
//
//	            ┌────────────── test ──────────────┐
//	            │ 192.0.2.1, routes, asks, asserts │
//	            └─┬──────────────┬───────────────┬─┘
//	┌─────────────┴─────┐ ┌──────┴──────┐ ┌──────┴─────────────────┐
//	│ dns  192.0.2.53   │ │ sink        │ │ none    192.0.2.101    │
//	│ unbound: sink's   │ │ 192.0.2.25  │ │ may     192.0.2.102    │
//	│ zone, validated;  │ │ tlsink serve│ │ …       one server     │
//	│ the senders' MX,  │ │ 25 53 80 443│ │         each, with its │
//	│ A, SPF, PTR       │ │             │ │         own mailbox    │
//	└───────────────────┘ └─────────────┘ └────────────────────────┘
//
// A sender mails to en@et and en@ut, is deferred, and retries every few
// seconds. In the end tlsink delivers its report to port 25 of that same
// sender, which the domain's MX names and its SPF record authorises.
//
// Senders are organizations of their own, or tlsink would take them for one
// provider's. Those with two outbound hosts have a network of their own, too.
//
// Exim and chasquid see the machine's files, over them those of the unpacked
// packages, and over these their own: an overlay in which they are chrooted.
// Exim runs Debian's own configuration; only the retry intervals and the TLS
// options under test are edited. chasquid, whose intervals cannot be set, is
// restarted every few seconds, which makes it try at once.
//
// # Isolation
//
// The test binary starts itself again as process 1 of new PID, mount, network
// and IPC namespaces, with a /run in memory that holds everything. When it
// ends, however it ends, the kernel ends the servers with it and takes the
// namespaces and files away. The machine's own services are not touched.
//
// With -artifacts, logs and exported histories are kept. With
// TLSINK_LAB_FIXTURES=1, histories about which all was right replace those in
// policyinfer/testdata/lab.
//
// # Files
//
//	main_test.go      requirements, the namespaces of the whole lab
//	topology_test.go  one namespace and address for each server
//	unbound_test.go   the resolver, and what it knows of the senders
//	tlsink_test.go    build, configure, start, kill and ask tlsink
//	setups_test.go    the table of senders, and what must be found out about each
//	sender_test.go    a sender: one server or several, its mail, queue, mailbox
//	postfix_test.go   Postfix
//	box_test.go       the files of servers that are not installed
//	exim_test.go      Exim
//	chasquid_test.go  chasquid
//	report_test.go    read and check a delivered report
//	history_test.go   compare an exported history with the setup and the logs
//	fixtures_test.go  histories that are kept for policyinfer
//	wait_test.go      wait for an event, or say what is missing and why
//	lab_test.go       the tests
//	firstcontact_test.go  the two ways to withhold STARTTLS, compared
//
// People, programs and the operator use the pages and the API of a service that
// real servers mail to, in a real browser (TLSINK_SCREENSHOTS names a directory
// for pictures):
//
//	live_test.go         the service, the browser, who does what
//	livetab_test.go      a tab: what it loads, says, and shows; the keyboard
//	livepage_test.go     a test from the button to the report, without a reload
//	livevisits_test.go   by keyboard on a phone, without scripts, by plain mail
//	liveprogram_test.go  tlsink test and watch, JUnit
//	livehook_test.go     webhooks and their signatures
//	liveconsole_test.go  the console: search, queue, deletion of a person
//
// The other half is the analysis of domains that receive: inbound_test.go, with
// the table of servers in receivers_test.go, of domains in inbounddomains_test.go,
// and what must be found out about each in testdata/inbound.txt.
//
//	inboundpki_test.go      a CA, and certificates that are good and not
//	receivers_test.go       Postfix, Exim and OpenSMTPD as receivers
//	inboundzones_test.go    signed zones: secure, insecure and bogus
//	policyhost_test.go      MTA-STS policies, and hosts that fail
//	inboundhostile_test.go  servers that want to keep their clients
//	inboundstudies_test.go  each class of the tables of two studies
//	inboundtools_test.go    other tools, asked about the same (inboundtools2_test.go)
//	inboundbench_test.go    how long an analysis takes, beside testssl.sh
package lab
