// Package storesock carries the interfaces of the package store over unix sockets: one service for each socket, and each
// socket gives only what its name says. The admin service is for the operator's commands, deliver for the receiver, pickup
// for the POP3 daemon. Admin asks the kernel which user connects; for the others the permissions of the socket decide.
//
// All travels in frames of a type (1 octet), a length (4 octets, big endian, at most 256 KiB) and as many octets. A
// connection begins with a hello frame 'H' each way, a JSON object with protocol number, service, and from the owner the
// store's id. Another protocol is a *ProtocolError, another store than at first a *StoreError; both are temporary and name
// both sides. Whatever is not as it should be closes the connection, and nothing else. Errors travel as codes, so that
// errors.Is works on the other side; a code that is unknown here is temporary.
//
// # Admin
//
// The client asks and the owner answers, one at a time. A message is a run of part frames 'P' closed by an empty end frame
// 'E', at most 64 MiB together, and holds one JSON object. A message whose end frame does not come was never said. Errors
// carry their text with them. An owner whose hello has "progress" tells in stream frames 'S', in front of its answer, how far it is
// with a verify or an undelete whose request has "progress": what is done and the total, 8 octets each, ten times a second at
// most. Backups, messages that are copied, and behind a request those that are imported travel in frames 'S' too.
//
// # Deliver
//
// Contents are binary: integers are uvarints, strings have their length in front, ids are 16 octets. While no draft is open
// the client may say
//
//	'R' resolve   session, peer, reverse-path, forward-path, declared octets   answered by 'A': number of maildrops, each,
//	                                                                           number of drafts prepared: 0 or 1, its id
//	'B' begin     session, reverse-path, declared octets                       answered by 'A': id; a draft is open
//	'Q' ask       id of a draft whose answer got lost                          answered by 'A': it is durable
//	'W' note      number lost, then refusals: session, peer, reverse-path,     answered by 'A'
//	              verb, code, reason, octets, Message-ID, number of
//	              forward-paths, each
//
// and 'F' with the code of an error, and nothing else, is an answer too. While a draft is open:
//
//	'D' data      the next octets of the body, at least one
//	'P' part      then the Final: trace, number of recipients, each: maildrop, prefix; peer, Message-ID, number of
//	              forward-paths, each; in as many frames as it takes
//	'E' end       empty; the draft is to be committed: answered by 'A' or 'F'
//	'X' discard   empty; the draft is to be forgotten: not answered
//
// With the first 'R' of a transaction that it grants, the owner begins a draft for the same session, reverse-path and declared
// octets, and says its id. It is prepared: the client may go on as if no draft were open, or as if this one were, without a
// 'B'. A 'B', and an 'R' for another session, path or size, ends it.
//
// Anything else, and the end of the connection, aborts the draft. A draft that takes no more octets is answered at once by
// 'N' with a code, and the owner hangs up, so that the rest of the body is not sent.
//
// A client that has said 'E' and gets no answer asks for the same id once over a new connection. The owner knows every draft
// that is prepared or open, and the outcome of the last 32,768 for two minutes. It waits for one that is under way, and one
// that is still open after 10 s is closed to its connection, so that what was said not to be there never comes. For what it
// does not know it asks the store (Committed). What stays unknown is store.ErrUnavailable.
//
// A note changes nothing but the history. The client queues 1,024 and sends what has come together within 100 ms, beside
// everything else; what does not fit, or does not get there, is lost and counted.
//
// An ordinary message costs one exchange, beside one for each recipient. The client keeps a connection with a draft that is
// prepared among those that are idle, and uses the draft for a minute at most. An owner that stops gives what was prepared the
// time that it gives an open draft, counted from the 'R'.
//
// # Pickup
//
// One connection opens one maildrop, and is its lock: however it closes, the owner's maildrop is closed. The client says
//
//	'O' open      flags, session, peer, mechanism, name, secret, binding
//	'S' step      the client's message in a login by exchange; the owner's 'S' comes before, and is empty at first
//
// and gets 'F', which ends the connection, or 'A' with the number of messages and then
//
//	'M' list      messages: id, octets, foreign UIDL; at least one in each frame, until the number is reached
//
// Then the client may say
//
//	'R' retrieve  first index, number of messages, credit: the octets that may be sent before more credit comes
//	'C' credit    so many octets more; what is outstanding is at most 128 KiB
//	'X' cancel    empty; stops a retrieve: answered by 'X', behind which nothing of it comes
//	'P', 'E'      a deletion: number of indices, each as its distance from the one before; answered by 'A' or 'F'
//	'K' active    empty; the client of POP3 moved
//	'Z' close     empty; answered by 'A' when the lock is free
//
// and the owner sends for each message of a retrieve in turn
//
//	'D' data      the next octets, at least one
//	'L' last      the last octets, perhaps none: the message is whole and its checksum was compared; or
//	'F' failure   a code in place of what was still to come of this message
//
// and once, between any two frames, an empty 'T' when the maildrop was taken away. Messages are asked for ahead of a client
// that takes one after the other, and without credit nothing is sent, so that a slow client costs the owner one buffer.
// A deletion that came whole is carried out, also when the connection has ended behind it.
//
// # Bounds
//
// Each service takes 2,500 connections at once. For one connection the owner holds 4 KiB of what it reads, and beside it for
// deliver 32 KiB of a body, 64 KiB of a Final and 64 MiB of Finals beyond that in all; for pickup 64 KiB of requests and 64
// KiB of messages. A client holds 32 KiB of a body, 128 KiB of messages and the snapshot, and keeps 64 idle connections for
// a minute. Half a frame is waited for 30 s, a request 10 minutes; a draft, prepared or open, and a maildrop last as long as
// their connection.
package storesock
