// Package durable puts files in place so that a crash at any moment leaves the
// old content or the new, never a part: what is written goes to another file
// of the same directory, to disk, and takes the place of the old one by rename
// (POSIX rename), which is made durable in turn.
//
//	.new-*, mode 0600 ─▶ written ─▶ mode ─▶ fsync ─▶ rename ─▶ fsync of the directory
//
// Files whose names begin with a dot are only on their way: whoever copies a
// directory leaves them out.
package durable
