// Package smtpd receives mail by SMTP (RFC 5321) and LMTP (RFC 2033) and hands it to a [store.Deliverer]. It sends
// nothing and never bounces: whatever it can't take it refuses while the sender still holds the message.
//
// go-smtp speaks the protocol. Each connection gets an smtp.Server of its own, so that all that is known of the connection
// can be kept beside it:
//
//   - the guard, a net.Conn below TLS, owns deadlines, caps, sticky errors and closing;
//   - the tap, the server's Debug writer, follows the plain text in both directions, also inside STARTTLS. It knows which
//     octets are commands, how many a BDAT announced, and when go-smtp is about to take a body for commands;
//   - content reads what follows DATA from the guard, in place of go-smtp's reader, which takes it octet by octet; not under
//     TLS, where the guard can give nothing back;
//   - the budget, a part of the guard, counts what a session costs without bringing mail, slows it down and ends it;
//   - the session answers go-smtp's callbacks, and a transfer carries one message into the store, through a body that makes
//     its lines canonical and reads its header meanwhile.
//
// A 250 after the message means that [store.Draft.Commit] returned nil: the message is durable for every recipient. Each 4xx
// and 5xx that this package makes carries the session's id, which also stands in the log.
//
// # Limits that come from go-smtp
//
// A bare <postmaster> without a domain is refused with 501, a command in the wrong place with 502 and an unknown parameter
// with 500. EHLO announces a SIZE that is one octet above the one that is taken, and LMTP a SIZE without a number. Paths
// without <> and STARTTLS with an argument pass. CHUNKING can't be turned off.
package smtpd
