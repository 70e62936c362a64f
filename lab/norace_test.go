//go:build linux && !race

package lab_test

const raceEnabled = false
