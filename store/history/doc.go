// Package history keeps what happened to mail, for the operator who is asked whether a message came, who took it and when.
//
// It is a record beside the mail and none of it: nothing waits for it, no fdatasync is made, and a crash may take its last
// seconds. What can't be kept is dropped and counted.
//
// # Files
//
// One folder holds files of JSON lines, each a store.Event, named for the day in UTC on which they were written:
//
//	2026-11-26.mail.jsonl        what happened to mail that was taken
//	2026-11-26.refused.jsonl     what was refused
//	2026-11-26.mail.2.jsonl      goes on where the file before has grown to its size
//
// A file is only appended to. A line that a crash cut off, or that is garbage, is skipped when it is read, and what is
// appended behind it begins on a line of its own.
//
// # Bounds
//
// Policy.Bytes bounds all files together. Refusals have a quarter of it to themselves, and mail the rest: what strangers
// send must not push out what happened to mail. Where a share is spent, its oldest file goes; a file holds at most a
// sixteenth of the share and 4 MiB, so a single day is bounded too. Files from before Policy.For go when Expire is called; those of
// days to come, of a clock that was ahead, are today's from then on.
//
// What waits to be written takes at most 4 MiB of memory, and as much while it is written; the messages that sessions are
// retrieving another MiB. Writing happens a second after the first line that waits, or once half of that is spent.
//
// Of refusals that are alike in client, reverse-path, forward-path and reason, the first is a line at once; those of the
// minute behind it become one line with a count. There are at most 1,024 of these at a time, mostly of 500 octets, and 64 of one client; beyond
// that refusals count for the client's network (an IPv4 /24, an IPv6 /48) and the reason alone, of which there are 1,024
// more, and in the end for the reason alone.
package history
