// Package backups saves and restores data_dir: keys, evidence and queue, in one
// archive that says what belongs in it.
package backups
