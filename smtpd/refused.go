package smtpd

import "example.org/letterbox/store"

// refused logs a MAIL or RCPT that we did not take, and tells the history.
func (s *session) refused(verb, from, to string, err error) {
	code, _, _ := kindOf(err).words()
	e := s.log.Info().Str("verb", verb).Int("code", code).Str("from", printable(from))
	if to != "" {
		e = e.Str("to", printable(to))
	}
	e.Str("reason", printable(err.Error())).Msg("refused")
	r := store.Refusal{From: from, Verb: verb, Code: code, Reason: kindOf(err).noted(verb)}
	if to != "" {
		r.To = []string{to}
	}
	s.note(r)
}

// note tells the history of a refusal.
func (s *session) note(r store.Refusal) {
	r.Session, r.Peer = s.id, s.peer
	if s.server.noter != nil && !s.listener.Quiet {
		s.server.noter.Note(r)
	}
}

// noted is a refusal's reason in the history: the label of a forward-path or a message, or what was wrong with a MAIL.
func (k kind) noted(verb string) string {
	switch {
	case k == looping:
		return "loop"
	case verb == "DATA":
		_, reason := k.messageLabels()
		return reason
	case verb == "RCPT":
		return k.recipientLabel()
	}
	switch k {
	case tooLarge:
		return "size"
	case badGreeting, badSender, notASCII:
		return "syntax"
	case noDomain, nullMX:
		return "sender-domain"
	case domainTrouble:
		return "dns"
	case nested:
		return "sequence"
	default:
		return "temporary"
	}
}
