package storesock

import "example.org/letterbox/store"

// The requests of the admin service.
const (
	opDirectory = "directory"
	opApply     = "apply"
	opFigures   = "figures"
	opVerify    = "verify"
)

// adminRequest is one call of a store.Admin.
type adminRequest struct {
	Op       string       `json:"op"`
	Revision uint64       `json:"revision,omitempty"`
	Edits    []store.Edit `json:"edits,omitempty"`
}

// adminAnswer holds the failure, or what the call returned.
type adminAnswer struct {
	Failure      *failure            `json:"failure,omitempty"`
	Revision     uint64              `json:"revision,omitempty"`
	Directory    *store.Directory    `json:"directory,omitempty"`
	Figures      *store.Stats        `json:"figures,omitempty"`
	Verification *store.Verification `json:"verification,omitempty"`
}
