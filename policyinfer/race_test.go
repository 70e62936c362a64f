//go:build race

package policyinfer

const raceEnabled = true
