// Package operators is the commands for whoever runs a sink: tests, histories,
// queue, blocks, slots, keys, people. Each asks the running service through its
// control socket; what it does there is in operate.
package operators
