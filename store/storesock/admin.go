package storesock

import (
	"time"

	"example.org/letterbox/store"
)

// The requests of the admin service.
const (
	opDirectory = "directory"
	opApply     = "apply"
	opFigures   = "figures"
	opVerify    = "verify"
	opUndelete  = "undelete"
	opBackup    = "backup" // the answer is preceded by the backup, as a stream
	opMail      = "mail"
	opCopy      = "copy"   // the answer is preceded by the message, as a stream
	opCanary    = "canary" // a round of the canary
	opTrace     = "trace"
	opImport    = "import" // the request is followed by the message, as a stream that the answer's end frame ends
)

// adminRequest is one call of a store.Admin.
type adminRequest struct {
	Op       string       `json:"op"`
	Revision uint64       `json:"revision,omitempty"`
	Edits    []store.Edit `json:"edits,omitempty"`
	Address  string       `json:"address,omitempty"`
	Since    time.Time    `json:"since,omitzero"`
	Message  store.ID     `json:"message,omitzero"`
	UIDL     string       `json:"uidl,omitempty"`
	Query    *store.Query `json:"query,omitempty"`
	Progress bool         `json:"progress,omitempty"` // to be told how far verify or undelete is
}

// adminAnswer holds the failure, or what the call returned.
type adminAnswer struct {
	Failure      *failure            `json:"failure,omitempty"`
	Revision     uint64              `json:"revision,omitempty"`
	Directory    *store.Directory    `json:"directory,omitempty"`
	Figures      *store.Stats        `json:"figures,omitempty"`
	Verification *store.Verification `json:"verification,omitempty"`
	Backup       *store.BackupReport `json:"backup,omitempty"`
	Count        int                 `json:"count,omitempty"`
	Messages     []store.Message     `json:"messages,omitempty"`
	ID           store.ID            `json:"id,omitzero"`
	Round        *store.Round        `json:"round,omitempty"`
	Traced       *store.Traced       `json:"traced,omitempty"`
}
