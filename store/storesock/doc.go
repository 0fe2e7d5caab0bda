// Package storesock carries the interfaces of the package store over unix sockets: one service for each socket, and each
// socket gives only what its name says. Now there is the admin service, for the operator's commands.
//
// A connection begins with a hello each way: protocol number, service, and the store's id from the server. After it the
// client asks and the server answers, one at a time. All travels in frames of a type (1 octet), a length (4 octets, big
// endian, at most 256 KiB) and as many octets; a message is a run of part frames closed by an end frame, at most 64 MiB
// together, and holds one JSON object. A message whose end frame does not come was never said. Whatever is not as it should
// be closes the connection, and nothing else.
//
// Errors travel as codes, so that errors.Is works on the other side. A code that is unknown here is temporary.
package storesock
