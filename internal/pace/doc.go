// Package pace measures, by simulation, how many delivery attempts and how many
// minutes a verdict takes: for each policy, SNI habit, MX habit and retry
// schedule, on a sink that is otherwise idle. It has tests only:
//
//	go test -run '^$' -bench Pace ./internal/pace                   (or: make bench)
//	TLSINK_PACE=10000 go test -run '^$' -bench Pace ./internal/pace (10,000 runs each; an hour)
//
// docs/time-to-verdict.md holds the result. The sender is simulated as a whole, attempt by attempt; what decides on the
// other side is the real thing: the engine, the schedule of the MX order, and
// what steers it. No network, no clock.
//
// # Files
//
//	sink_test.go    the sink's side: phases, certificates, MX order
//	sender_test.go  the senders: policies, habits, retry schedules
//	pace_test.go    the runs, and the table
//	goals_test.go   what has to be reached, and what is not, with the reason
package pace
