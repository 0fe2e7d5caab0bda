// Package pop3d is a POP3 daemon: RFC 1939 whole but for APOP (which needs the password in clear at rest), with CAPA and
// response codes (RFC 2449, RFC 3206), STLS (RFC 2595, RFC 8314), AUTH (RFC 5034) with PLAIN, LOGIN and SCRAM (RFC 4616,
// RFC 7677), and UTF8 and LANG (RFC 6856).
//
// It reaches mail through a [store.Pickup] alone and is handed connections by [Server.Handle], one call for each. A
// session is one goroutine and one loop: read a line, look it up in the table of commands, check state and arguments
// there, run the handler, write the reply that it returned, count it. Handlers never write.
//
// What holds whatever a client or the store does:
//
//   - Nothing is deleted but by a QUIT in the TRANSACTION state, and that QUIT is answered after the store's commit.
//   - A message ends with its final dot only when the store gave exactly the announced octets and found them whole;
//     otherwise the connection is cut.
//   - A store that fails is never shown as an empty maildrop.
//   - A password is never asked for, nor looked at, where [Policy.Plaintext] refuses it.
package pop3d
