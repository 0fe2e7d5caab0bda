// Package seglog is an append-only log of records in segments, with group commit and replay. It knows neither mail nor the
// index that is made from it.
//
// A log is a folder of segments, named by their number: 0000000000000001.seg and so on. All numbers are little endian, all
// checksums CRC-32C, all seals the first 16 octets of BLAKE2b-256 keyed by the store's random key.
//
// # Segment header, 192 octets
//
//	offset  size
//	0       8     "LBSEGLOG"
//	8       4     format version, 1
//	12      4     flags: 1, written anew by Repair; an unknown one is refused
//	16      16    id of the store
//	32      8     number of this segment
//	40      8     first sequence number that a record of this segment may have
//	48      64    eight running totals as they were when the segment began; their meaning is the caller's
//	112     8     number of the segment before, 0 for the first
//	120     8     length at which the segment before was sealed; what stands behind it there does not count
//	128     4     chain of the segment before at that length
//	132     4     zero
//	136     8     length that the segment had when it got its name: so far it was durable then
//	144     16    the caller's
//	160     16    zero
//	176     16    seal of the first 176 octets
//
// # Record: header of 80 octets, head, body
//
//	offset  size
//	0       4     "LBR1"
//	4       1     version, 1
//	5       1     kind; its meaning is the caller's
//	6       2     flags; an unknown one is refused by name
//	8       8     length of head and body together
//	16      16    id
//	32      8     sequence number
//	40      8     durable_to: up to here this segment was known durable when the record was written
//	48      4     length of the head
//	52      4     checksum of the head
//	56      4     checksum of the body
//	60      4     zero
//	64      16    seal of the first 64 octets, of the segment's number and of the record's offset
//
// The seal also covers where the record stands, so that a record copied into a body, or left behind by an older segment,
// is never taken for one. Senders choose bodies but do not know the key.
//
// The chain of a segment is the CRC-32C of its record headers, one behind the other. It stands for every octet, since each
// header holds the checksums of its head and body.
//
// # Room
//
// Behind the last record of the segment that takes records may stand zeros, which are no record: room, written in advance so
// that fdatasync finds neither a new size nor new blocks to put into the file system's journal. It is cut off when the segment
// is sealed and when the log is closed; after a crash it goes as a tail that was never acknowledged does.
//
// # The file "dropped"
//
// It names the segments that were given up, so that one that is missing for another reason is found: ascending spans as 5-12
// with a space between two, a line feed, 32 hexadecimal digits, a line feed. The digits are the seal of the word dropped and
// of the first line without its end. The file is replaced whole before a segment goes; without it none ever went.
//
// # Order of calls
//
// Append: write all records of the group with one vectored write, fdatasync, then acknowledge. A write that fails is cut
// off again (truncate, fdatasync) before anybody hears of it. An fdatasync that fails is never tried again: the log takes
// no more records until it is opened anew. The fdatasync of a group is that of vfs.Syncer: who has a record for the next
// group is not kept from running meanwhile.
//
// A segment is made whole under a temporary name: write, fdatasync, rename, fsync of the folder. Only then is a record
// acknowledged in it. So a segment with a damaged header is corruption and never a crash. A Writer makes a whole log so, each
// segment with all its records, and fsyncs the folder once behind the last: what it wrote is no log before.
//
// Open: everything up to the caller's mark is known durable, and so is what the last segment was born with, and everything
// in front of its largest durable_to. Behind that, pages may have reached the disk in any order, or not yet: records that are intact are
// written again into a new segment, which makes them durable, and the first that is not ends the log. It counts as
// corruption instead when a later valid record says that this place was durable.
package seglog
