package store

import (
	"context"
	"io"
	"net/netip"
	"time"
)

// Admin is what the operator's commands reach: the store's facts about who gets mail. All names in it are canonical
// addresses as ParseAddress returns them.
type Admin interface {
	// Directory returns everything that Apply can change.
	Directory(ctx context.Context) (Directory, error)
	// Apply makes all edits durable or none. A revision other than 0 that is not the current one fails with an
	// *EditError of CodeRevision. An edit that can't be made fails with an *EditError that says why in one sentence.
	Apply(ctx context.Context, revision uint64, edits []Edit) (uint64, error)
	// Undelete files what was deleted since a moment, and still lies in the bin, again, under new UIDLs, since clients skip
	// those that they know. It returns how many messages that were, also with an error; made again it goes on.
	Undelete(ctx context.Context, address string, since time.Time) (int, error)
	// Figures returns the store's counters.
	Figures(ctx context.Context) (Stats, error)
	// Backup writes everything that waits, and the directory, to w. Mail goes on meanwhile. What was written is whole only
	// when the error is nil. Messages that can't be read are left out, and the report says which.
	Backup(ctx context.Context, w io.Writer) (BackupReport, error)
	// Mail lists what waits for an account, in the order of a POP3 session, and locks nothing.
	Mail(ctx context.Context, address string) ([]Message, error)
	// Copy writes a message that waits for an account to w, octet by octet as RETR sends it before dot-stuffing. What was
	// written is whole only when the error is nil.
	Copy(ctx context.Context, address string, id ID, w io.Writer) error
	// Import files a message for an account, durable when the error is nil. Its octets are canonical, as Draft.Write takes
	// them. uidl is the UIDL that it had elsewhere, empty for one of ours. Where a message has it here, or had it and was deleted,
	// Import fails with an *EditError: of CodeExists if that is the same message, else of CodeTaken.
	Import(ctx context.Context, address, uidl string, body io.Reader) (ID, error)
	// Verify reads the whole store and holds every checksum, the index against the log, and the counters against the
	// entries. Mail goes on meanwhile. Damage is in what it returns; an error means that it could not look.
	Verify(ctx context.Context) (Verification, error)
	// Trace says what the history knows of a message or an address. It fails with ErrNoHistory while none is kept.
	Trace(ctx context.Context, q Query) (Traced, error)
}

// BackupReport says what a backup holds.
type BackupReport struct {
	Messages int64 `json:"messages"`
	Entries  int64 `json:"entries"` // messages, counted once for each maildrop
	Octets   int64 `json:"octets"`  // of the backup

	LeftOut *LeftOut `json:"left_out,omitempty"` // nil: nothing
}

// LeftOut are messages that wait and are not in a backup, since they can't be read.
type LeftOut struct {
	Messages int64     `json:"messages"`
	Findings []Finding `json:"findings"` // the first MaxFindings of them
}

// Lacks counts one message that the backup has not.
func (r *BackupReport) Lacks(f Finding) {
	if r.LeftOut == nil {
		r.LeftOut = &LeftOut{}
	}
	if r.LeftOut.Messages++; r.LeftOut.Messages <= MaxFindings {
		r.LeftOut.Findings = append(r.LeftOut.Findings, f)
	}
}

// Verification is what Verify looked at and found.
type Verification struct {
	Records  int64     `json:"records"`  // of the log
	Messages int64     `json:"messages"` // that somebody has
	Entries  int64     `json:"entries"`  // messages, counted once for each maildrop
	Octets   int64     `json:"octets"`   // of bodies whose checksum was computed
	Damage   int64     `json:"damage"`   // how many things are not as they should be
	Findings []Finding `json:"findings"` // the first MaxFindings of them
}

// MaxFindings bounds the list of a Verification.
const MaxFindings = 1000

// Add counts one finding, and keeps it while there is room.
func (v *Verification) Add(f Finding) {
	if v.Damage++; v.Damage <= MaxFindings {
		v.Findings = append(v.Findings, f)
	}
}

// Finding is one thing that is not as it should be, as a sentence for the operator.
type Finding struct {
	Message string `json:"message,omitempty"` // the id of the message that it is about
	Text    string `json:"text"`
}

// Directory is the store's facts at one revision, each list ordered by address.
type Directory struct {
	Revision  uint64     `json:"revision"`
	Accounts  []Account  `json:"accounts"`
	Aliases   []Alias    `json:"aliases"`
	CatchAlls []CatchAll `json:"catchalls"`
	Blocks    []Block    `json:"blocks"` // ordered by sender and recipient
}

// Account is one person's login and maildrop.
type Account struct {
	Address  string     `json:"address"`
	Maildrop MaildropID `json:"maildrop"`
	Disabled bool       `json:"disabled"`
	Created  time.Time  `json:"created"`
	Messages int64      `json:"messages"`        // waiting now
	Octets   int64      `json:"octets"`          // of these messages
	Quota    *Quota     `json:"quota,omitempty"` // nil: the configuration's
	SCRAM    bool       `json:"scram"`           // its own password works with SCRAM too

	// What a client deleted and Undelete can still file again.
	Undeletable       int64 `json:"undeletable"`
	UndeletableOctets int64 `json:"undeletable_octets"`

	LastFetch *Fetch `json:"last_fetch,omitempty"` // nil: never, or before letterbox noted it

	AppPasswords []AppPassword `json:"app_passwords,omitempty"` // by name
}

// Fetch is one time that a client opened a maildrop. POP3 clients do not say what they are: where one came from and how it
// logged in is all that there is to tell them apart.
type Fetch struct {
	At        time.Time  `json:"at"`            // up to a minute behind after a crash
	Peer      netip.Addr `json:"from,omitzero"` // zero: not by the network
	TLS       bool       `json:"tls"`
	Mechanism string     `json:"mechanism"`              // as in Login
	App       string     `json:"app_password,omitempty"` // the name of the app password, if it was one
}

// MaxAppPasswords bounds how many app passwords one account has, MaxAppName how long their names are, in octets.
const (
	MaxAppPasswords = 100
	MaxAppName      = 64
)

// AppPassword is a further password of an account, for one program.
type AppPassword struct {
	Name     string    `json:"name"`
	Created  time.Time `json:"created"`
	LastUsed time.Time `json:"last_used,omitzero"` // zero: never; up to a minute behind
}

// Quota bounds what waits in a maildrop. 0 stands for no bound.
type Quota struct {
	Octets   int64 `json:"octets"`
	Messages int64 `json:"messages"`
}

// Alias sends mail for Address to Targets. Both may be a whole domain, written `@a.example`; such an alias has one target.
type Alias struct {
	Address string   `json:"address"`
	Targets []string `json:"targets"`
}

// CatchAll sends mail for every unknown address of Domain to Target.
type CatchAll struct {
	Domain string `json:"domain"`
	Target string `json:"target"`
}

// Block refuses mail at RCPT. Sender and Recipient have to fit both; an empty one fits everybody.
type Block struct {
	// Sender is a reverse-path, a domain with all below it, or the network of a peer in CIDR notation.
	Sender string `json:"sender,omitempty"`
	// Recipient is a forward-path; one without a +tag fits those with one too.
	Recipient string    `json:"recipient,omitempty"`
	Created   time.Time `json:"created"`
	Refused   uint64    `json:"refused"`            // recipients; a crash may lose those of the last minute
	LastUsed  time.Time `json:"last_used,omitzero"` // zero: never
}

// Op names an edit.
type Op string

// The edits. Each names the fields of Edit that it reads beside Address.
const (
	AddAccount     Op = "account-add"      // Hash, SCRAM
	SetPassword    Op = "account-password" // Hash, SCRAM; ends the account's sessions
	EnableAccount  Op = "account-enable"
	DisableAccount Op = "account-disable"
	SetQuota       Op = "account-quota"  // Quota; nil: the configuration's
	RemoveAccount  Op = "account-remove" // DiscardMail; refused while mail waits without it
	AddAlias       Op = "alias-add"      // Targets; replaces what was there
	RemoveAlias    Op = "alias-remove"
	SetCatchAll    Op = "catchall-set"   // Address is a domain; Targets[0]
	ClearCatchAll  Op = "catchall-clear" // Address is a domain

	AddAppPassword    Op = "app-password-add"    // Name; Hash as secret.AppHash makes it
	RemoveAppPassword Op = "app-password-remove" // Name; ends the sessions that it opened
	AddBlock          Op = "block-add"           // Address is a sender as in Block, empty for all; Targets[0] a recipient, if one is meant
	RemoveBlock       Op = "block-remove"        // the same
)

// Edit is one change of the directory.
type Edit struct {
	Op          Op       `json:"op"`
	Address     string   `json:"address"`
	Targets     []string `json:"targets,omitempty"`
	Hash        string   `json:"hash,omitempty"`  // as the package secret writes it, never a password
	SCRAM       string   `json:"scram,omitempty"` // keys of the same password, as the package secret writes them
	Name        string   `json:"name,omitempty"`  // of an app password
	DiscardMail bool     `json:"discard_mail,omitempty"`
	Quota       *Quota   `json:"quota,omitempty"`
}

// EditError says why an edit can't be made. Text is one sentence for the operator.
type EditError struct {
	Code EditCode `json:"code"`
	Text string   `json:"text"`
}

// Error returns the sentence.
func (e *EditError) Error() string { return e.Text }

// EditCode classifies an EditError for scripts and tests.
type EditCode string

// The classes of EditError.
const (
	CodeExists   EditCode = "exists"
	CodeMissing  EditCode = "missing"
	CodeInvalid  EditCode = "invalid"
	CodeNotEmpty EditCode = "not-empty"
	CodeRevision EditCode = "revision"
	CodeTaken    EditCode = "taken" // by something else
)
