package e2e

import (
	"hash/fnv"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// The shapes in which letterbox runs: one process, three by hand, and three under a supervisor. Every test of a server holds
// for each of them.
const (
	shapeServe = "serve"
	shapeRoles = "roles"
	shapeSplit = "split"

	shapeEnv = "LETTERBOX_SHAPE"
)

func shapes() []string { return []string{shapeServe, shapeRoles, shapeSplit} }

// roles are the processes of the shapes with three, in the order of their start.
func roles() []string { return []string{"store", "smtpd", "pop3d"} }

// shape is what LETTERBOX_SHAPE says, else one that depends on the test's name: each shape gets a third of the tests.
func shape(t testing.TB) string {
	t.Helper()
	if named := os.Getenv(shapeEnv); named != "" {
		if !slices.Contains(shapes(), named) {
			t.Fatalf("%s is %q: there are %v", shapeEnv, named, shapes())
		}
		return named
	}
	hash := fnv.New32a()
	hash.Write([]byte(t.Name()))
	return shapes()[hash.Sum32()%3]
}

// roleCommand is the command of one role, with those of serve's arguments that it takes. They come in pairs.
func roleCommand(t testing.TB, role string, args []string) *exec.Cmd {
	t.Helper()
	only := map[string]string{
		"--smtp": "smtpd", "--smtps": "smtpd", "--lmtp": "smtpd", "--max-message-bytes": "smtpd",
		"--pop3": "pop3d", "--pop3s": "pop3d", "--account": "store",
	}
	own := []string{role}
	for i := 0; i+1 < len(args); i += 2 {
		name := args[i]
		if name == "--metrics" && role != "store" {
			name += "-" + role
		}
		if of := only[name]; of == "" || of == role {
			own = append(own, name, args[i+1])
		}
	}
	return letterbox(t, own...)
}

// process returns the living process of a role.
func (s *server) process(role string) *os.Process {
	for _, p := range slices.Backward(s.procs) {
		if p.role == role {
			return p.cmd.Process
		}
	}
	return s.childProcess(role)
}

// childProcess returns the supervisor's latest process of a role.
func (s *server) childProcess(role string) *os.Process {
	s.t.Helper()
	lines, _ := s.log.from(0)
	for _, l := range slices.Backward(lines) {
		if l.Message == "process started" && l.Of == role {
			p, err := os.FindProcess(l.Pid)
			if err != nil {
				s.t.Fatal(err)
			}
			return p
		}
	}
	s.t.Fatalf("the supervisor started no %s", role)
	return nil
}

// TestRoleFlags holds the map above to the program: every role takes the flags that it is given.
func TestRoleFlags(t *testing.T) {
	for _, role := range roles() {
		out, err := letterbox(t, "help", role).Output()
		if err != nil {
			t.Fatal(err)
		}
		if takes := strings.Contains(string(out), "--account"); takes != (role == "store") {
			t.Errorf("%s takes the passwords of accounts: %t", role, takes)
		}
	}
}
