// Package boltstore is the store on disk: an append-only log that holds the mail, and bbolt files that answer questions.
//
// # Folder
//
//	lock         held by the one process that may touch anything else here
//	identity     JSON: format of the folder, id of the store, key that seals the log; written once
//	ballast      space that is given up when the disk is full, so that mail can be fetched and deleted
//	bodies/      bodies over 1 MiB, one file each, named by the message's id
//	log/         segments of package seglog: everything that was acknowledged about mail
//	index.db     bbolt; derived from the log, rebuilt on any doubt
//	accounts.db  bbolt; facts of its own: accounts, aliases, catch-alls
//
// # Records of the log
//
// Numbers are uvarints unless a size in octets stands behind them; those are little endian.
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
//	                  varints.
//
// What RETR sends is a recipient's own lines, the trace lines and the body.
//
// # index.db
//
// Numbers are big endian, or uvarints where no size stands.
//
//	meta       format: version (1), id of the store (16)
//	           state: position in the log, totals up to it, the largest id; little endian
//	entries    maildrop (8) | sequence number (8) -> CRC-32C of key and rest (4), id (16), flags (1), segment, offset, octets, foreign UIDL (the rest)
//	ids        id (16) -> CRC-32C of key and rest (4), sequence number, segment, offset, size of the record (8 each), flags (2), maildrops that still
//	           have it (8 each)
//	maildrops  maildrop (8) -> messages, octets
//	segments   segment (8) -> octets of records whose message somebody has, octets of records that delete, smallest and
//	           largest sequence number that it ever held, offset up to which deletions are counted
//
// The state is written in the same transaction as what it speaks of. The index is a function of the log: applying a record
// twice changes nothing. It lags behind the log by a second or so; opening a maildrop applies what is pending for it first.
package boltstore
