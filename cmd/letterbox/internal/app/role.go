package app

import (
	"context"
	"strings"

	"example.org/letterbox/cmd/letterbox/internal/config"
)

// Role is what one process does.
type Role string

// The roles. Serve holds all parts in one process; the other three are processes of their own over one store, which Store
// owns.
const (
	Serve Role = "serve"
	Store Role = "store"
	SMTPD Role = "smtpd"
	POP3D Role = "pop3d"
)

// Split returns the roles of which `serve --split` makes three processes, in the order of their start.
func Split() []Role { return []Role{Store, SMTPD, POP3D} }

// holds tells whether a process of role r holds the parts of part.
func (r Role) holds(part Role) bool { return r == Serve || r == part }

// Uses tells whether a key means something to a process of role r. What only another role needs is no flag of this one;
// above all no daemon is given the passwords of accounts.
func (r Role) Uses(k config.Key) bool {
	switch {
	case k.Name == "metrics.listen", k.Name == "metrics.per_account":
		return r.holds(Store)
	case k.Name == "metrics.smtpd":
		return r == SMTPD
	case k.Name == "metrics.pop3d":
		return r == POP3D
	case strings.HasPrefix(k.Name, "retention.history_"):
		return r.holds(Store)
	case loginKey(k.Name):
		return r.holds(Store) || k.Section() == "pop3" && r == POP3D
	}
	switch k.Section() {
	case "smtp":
		return r.holds(SMTPD)
	case "pop3":
		return r.holds(POP3D)
	case "retention":
		return r != SMTPD // EXPIRE tells clients
	case "store", "accounts", "quota", "backup", "canary":
		return r.holds(Store)
	case "proxy":
		return r != Store
	case "limits":
		return r != Store || k.Name == "limits.exempt"
	}
	return true
}

// loginKey tells whether the owner of the store heeds a key where somebody logs in. Those of the section pop3 shape what the
// daemon says, too; limits.exempt, which daemons heed for their connections, is theirs as well.
func loginKey(name string) bool {
	switch name {
	case "limits.password_hash_memory", "limits.login_free_failures", "limits.login_max_delay", "limits.login_ban_after",
		"limits.login_ban_time", "pop3.takeover_after", "pop3.login_delay", "pop3.scram":
		return true
	}
	return false
}

// step opens or starts one part of a process.
type step func(context.Context) error

// steps returns what the process opens, in an order in which each step needs only what stands before it. The listeners of
// mail come behind everything that may fail or wait.
func (s *process) steps() []step {
	switch s.Role {
	case Store:
		return []step{
			s.openStore, s.makeAccounts, s.takeRun, s.makeMetrics, s.openAdmin, s.openDeliver, s.openPickup, s.openHealth,
			s.publishCertificate, s.openListeners, s.serveAll, s.startBackups, s.startCanary,
		}
	case SMTPD:
		return []step{s.findRun, s.reachDeliverer, s.makeMetrics, s.openHealth, s.openCerts, s.openListeners, s.makeSMTP, s.serveAll}
	case POP3D:
		return []step{s.findRun, s.reachPickup, s.makeMetrics, s.openHealth, s.openCerts, s.openListeners, s.makePOP3, s.serveAll}
	}
	return []step{
		s.openStore, s.makeAccounts, s.takeRun, s.makeMetrics, s.openAdmin, s.openHealth, s.openCerts, s.openListeners,
		s.makeSMTP, s.makePOP3, s.serveAll, s.startBackups, s.startCanary,
	}
}
