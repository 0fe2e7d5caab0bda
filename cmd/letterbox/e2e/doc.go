// Package e2e tests the letterbox binary from outside: it starts the real program and speaks to it with the mail clients
// that people use. It holds no code of its own.
//
// A client that is not installed is named and its test skipped; with CI=true in the environment that is a failure. A server
// runs in one of three shapes: one process, three, or three under serve --split. Each test gets one by its name, and
// LETTERBOX_SHAPE=serve, roles or split asks for one for all. LETTERBOX_LONG=1 asks for the long forms. LETTERBOX_BINARY names
// a binary to test in place of building one.
package e2e
