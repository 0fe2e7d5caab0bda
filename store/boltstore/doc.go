// Package boltstore is the store on disk: an append-only log that holds the mail, and bbolt files that answer questions.
//
// # Folder
//
//	lock             held by flock(2) by the one process that may touch anything else here; empty
//	identity         one JSON object and a line feed: "format", 2; "store", 32 hexadecimal digits, the id of the store; "key",
//	                 64 hexadecimal digits, which seals the log. Written once
//	ballast          32 MiB that are given up when the disk is full, so that mail can be fetched and deleted
//	bodies/          bodies over 1 MiB, and others while memory is short: a file each with the octets of the body alone, its
//	                 name the message's id as 26 characters; with .new behind it while it is written
//	log/             segments of package seglog: everything that was acknowledged about mail
//	history/         what happened to mail, as lines of JSON: see the package history. No part of the mail: it may be removed
//	index.db         bbolt; derived from the log, rebuilt on any doubt
//	index.db.new     index.db while it is built from the whole log; nothing of it is synced before it gets its name
//	index.condemned  stands beside it while its content is not to be believed
//	accounts.db      bbolt; facts of its own: accounts, aliases, catch-alls
//	clock            one line: the CRC-32C of what follows (8 hexadecimal digits), a space, and a JSON object: "since", when the
//	                 machine's clock was first believed in this store; "steady", since when it has been without a break;
//	                 "trusted", what it said then last; while it is not, "doubted", what it says, and "even", for how many
//	                 nanoseconds it has gone evenly. An hour behind at most. Without it mail waits longer, and none is lost
//	salvaged/        bodies of large messages whose records a repair lost, under their names; never removed by letterbox
//	repair-unfinished  stands, empty, from before a repair changes the log until such bodies were set aside
//
// # Formats 1 and 2
//
// The format of identity, log and bodies is frozen: testdata/format1 and testdata/format2 are stores that every later version
// must open. A record, once written, keeps its meaning. What is new gets a new kind or a new flag, and the folder the next
// format number; a program that meets a format, a kind or a flag that it does not know refuses the store and names it. Format
// 2 has the kinds from 8 on and the flags 2 and 4; a folder of format 1 is one of format 2 without them, and gets that number
// when it is first opened. index.db is free to change, since it can be made again.
//
// # Records of the log
//
// Numbers are uvarints (as encoding/binary has them) unless a size in octets stands behind them; those are little endian.
//
//	kind 1, message   head: length and octets of the SMTP session, of the reverse-path, of the trace lines; number of
//	                  recipients; for each: maildrop (8), length and octets of its own lines. Body: the message as it
//	                  came, with CRLF line ends.
//	                  With flag 1 the body is a file in bodies/, the record has none, and the head ends with its
//	                  size and its CRC-32C (4).
//	kind 2, deletion  head: maildrop (8), octets freed, number of messages; for each, ascending: distance of its
//	                  sequence number from the one before. No body.
//	kind 3, removal   as kind 2: an account was removed together with its mail.
//	kind 4, move      made by reclaim. Head: sequence number and segment of the original, then as kind 1, for those who
//	                  still have the message; flags and body as kind 1.
//	kind 5, tombstone made by reclaim. As kind 2: carries deletions forward while a copy of what they delete may exist.
//	kind 6, loss      made by a repair. Head: entries and octets that are gone without having been deleted, both signed
//	                  varints (zigzag). No body.
//	kind 7, expiry    as kind 2: mail that had waited for too long.
//	kind 8, bin       head: a moment (8) in Unix milliseconds, then as kind 2: a deletion that can be undone. The entries
//	                  lie in the bin from then on.
//	kind 9, purge     as kind 2: what lay in the bin is gone.
//	kind 10, restore  head: sequence number of the entry in the bin that it takes the place of, 0 for mail from a backup,
//	                  then as kind 1; body as kind 1.
//	kind 11, import   as kind 1: mail from another store.
//	kind 12, bin      made by reclaim. As kind 8, in the way of kind 5.
//	kind 13, canary   a message by which letterbox looks whether mail flows: as kind 1, with no recipients. Or, with an empty
//	                  head and no body, that such messages are deleted. It counts for nothing and does nothing to the
//	                  index: nobody needs one that a store is opened with, or that reclaim finds.
//
// With flag 2 the head of a record that brings a message ends with length and octets of the UIDL that it came with. With flag
// 4, of kind 4, each recipient is followed by the moment in Unix milliseconds since which its entry lies in the bin, or 0.
//
// The id of a record is a ULID; that of a message is its UIDL, that of any other record is used for nothing but is never given
// to a message either. The sequence number of a message's record is the one in the keys of its entries, and stays when the
// message moves. A deletion names only messages whose records stand in front of it. The eight totals in a segment's header
// are entries delivered, imported, restored, deleted, expired and removed, octets present (signed) and entries lost (signed);
// the caller's 16 octets there are the largest id that was given.
//
// What RETR sends is a recipient's own lines, the trace lines and the body.
//
// # index.db
//
// Numbers are big endian, or uvarints where no size stands.
//
//	meta       format: version (3), id of the store (16)
//	           state: position in the log, totals up to it, the largest id; little endian
//	entries    maildrop (8) | sequence number (8) -> CRC-32C of key and rest (4), id (16), flags (1), segment, offset, octets, foreign UIDL (the rest)
//	           with flag 2 the CRC-32C of the body (4) stands in front of that UIDL
//	bin        as entries, with flag 1 and, behind octets, since when in Unix milliseconds
//	ids        id (16) -> CRC-32C of key and rest (4), sequence number, segment, offset, size of the record (8 each), flags (2), maildrops that still
//	           have it (8 each)
//	maildrops  maildrop (8) -> messages, octets, both also of its bin
//	segments   segment (8) -> octets of records whose message somebody has, octets of records that delete, smallest and
//	           largest sequence number that it ever held, offset up to which deletions are counted
//
// # accounts.db
//
// Numbers are big endian, 8 octets.
//
//	meta       format: version (1), id of the store (16)
//	           revision: of the facts, one more with each change
//	           next-maildrop: the largest maildrop that was ever given to an account
//	accounts   address -> JSON object: maildrop, hash, disabled, created
//	aliases    address, or @ and a domain -> JSON list of targets
//	catchalls  domain -> address
//	logins     maildrop -> JSON object: networks that logged in, last uses of app passwords, the last fetch; a minute behind
//	imported   maildrop and a UIDL that an import brought, of a message that does not wait any more -> its octets, their CRC-32C (4)
//
// # Order
//
// The state is written in the same transaction as what it speaks of. The index is a function of the log: applying a record
// twice changes nothing. It lags behind the log by a second or so; opening a maildrop applies what is pending for it first.
package boltstore
