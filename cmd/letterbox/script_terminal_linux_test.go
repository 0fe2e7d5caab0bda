package main

import (
	"fmt"
	"io"
	"os"
	"os/exec"

	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/sys/unix"
)

// openTerminal returns the two ends of a pseudo-terminal.
func openTerminal() (outside, inside *os.File, err error) {
	outside, err = os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		return nil, nil, err
	}
	n, err := unix.IoctlGetUint32(int(outside.Fd()), unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(int(outside.Fd()), unix.TIOCSPTLCK, 0)
	}
	if err == nil {
		inside, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	}
	if err != nil {
		outside.Close()
	}
	return outside, inside, err
}

// terminalCommand runs a program whose standard error is a terminal, and leaves in the file terminal what is shown there.
func terminalCommand(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) == 0 {
		ts.Fatalf("usage: terminal PROGRAM [args]")
	}
	outside, inside, err := openTerminal()
	ts.Check(err)
	defer outside.Close()
	shown := make(chan []byte)
	go func() {
		text, _ := io.ReadAll(outside) // it ends with EIO once nobody has the other end
		shown <- text
	}()
	program, err := exec.LookPath(args[0])
	ts.Check(err)
	environ := ts.Value(environKey{}).([]string)
	cmd := exec.Command(program, args[1:]...)
	cmd.Dir, cmd.Env, cmd.Stderr = ts.Getenv("WORK"), environ, inside
	err = cmd.Run()
	inside.Close()
	text := <-shown
	ts.Check(os.WriteFile(ts.MkAbs("terminal"), text, 0o600))
	if (err != nil) != neg {
		ts.Fatalf("%v: %v, %q", args, err, text)
	}
}
