package e2e

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// repository is the repository's root, seen from this folder.
const repository = "../../.."

// image is what a Containerfile says of the image that it makes.
type image struct {
	build  []string    // RUN lines of the stage before the last
	copies [][2]string // COPY --from=build: source, destination
	owned  map[string]string
	env    []string
	uid    uint32
	gid    uint32
	args   []string // ENTRYPOINT and CMD
	health []string
	volume string
}

// readContainerfile understands as much of the format as our file uses, and fails on everything else.
func readContainerfile(t *testing.T, path string) *image {
	t.Helper()
	file, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	text := regexp.MustCompile(`(?m)^\s*#.*\n`).ReplaceAllString(string(file), "")
	text = strings.ReplaceAll(text, "\\\n", " ")
	img := &image{owned: map[string]string{}}
	stage := 0
	for line := range strings.Lines(text) {
		word, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		switch {
		case word == "FROM":
			stage++
		case stage == 1 && word == "RUN":
			img.build = append(img.build, rest)
		case stage == 2:
			img.instruction(t, word, rest)
		}
	}
	return img
}

// instruction takes one line of the last stage.
func (img *image) instruction(t *testing.T, word, rest string) {
	t.Helper()
	switch word {
	case "COPY":
		found := regexp.MustCompile(`^--from=build(?: --chown=(\S+))? (\S+) (\S+)$`).FindStringSubmatch(rest)
		if found == nil {
			t.Fatalf("COPY %s", rest)
		}
		img.copies = append(img.copies, [2]string{found[2], found[3]})
		img.owned[found[3]] = found[1]
	case "ENV":
		for _, pair := range regexp.MustCompile(`(\w+)=("[^"]*"|\S+)`).FindAllStringSubmatch(rest, -1) {
			img.env = append(img.env, pair[1]+"="+strings.Trim(pair[2], `"`))
		}
	case "USER":
		img.uid, img.gid = numericUser(t, rest)
	case "ENTRYPOINT", "CMD":
		img.args = append(img.args, list(t, rest)...)
	case "HEALTHCHECK":
		_, command, _ := strings.Cut(rest, " CMD ")
		img.health = list(t, command)
	case "VOLUME":
		img.volume = rest
	case "EXPOSE", "STOPSIGNAL", "":
	default:
		t.Fatalf("unknown instruction %s", word)
	}
}

// numericUser reads UID:GID: an image without /etc/passwd knows no names.
func numericUser(t *testing.T, s string) (uid, gid uint32) {
	t.Helper()
	u, g, _ := strings.Cut(s, ":")
	first, err1 := strconv.ParseUint(u, 10, 32)
	second, err2 := strconv.ParseUint(g, 10, 32)
	if err1 != nil || err2 != nil || first == 0 || second == 0 {
		t.Fatalf("USER %s is no UID:GID, or is root", s)
	}
	return uint32(first), uint32(second)
}

func list(t *testing.T, s string) (words []string) {
	t.Helper()
	if err := json.Unmarshal([]byte(s), &words); err != nil {
		t.Fatalf("%s: %v", s, err)
	}
	return words
}

// unpack builds the image's file system below a folder of its own, with /data on a file system beside it.
func (img *image) unpack(t *testing.T) (root string) {
	t.Helper()
	out, root := t.TempDir(), filepath.Join(t.TempDir(), "root")
	if err := os.Mkdir(root, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, command := range img.build {
		if !strings.Contains(command, "/out/") {
			continue // fetches what this machine has
		}
		cmd := exec.Command("sh", "-c", strings.ReplaceAll(command, "/out/", out+"/"))
		cmd.Dir = repository
		if text, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", cmd, err, text)
		}
	}
	for _, c := range img.copies {
		target := filepath.Join(root, c[1])
		if err := os.Rename(filepath.Join(out, strings.TrimPrefix(c[0], "/out/")), target); err != nil {
			t.Fatal(err)
		}
		if owner := img.owned[c[1]]; owner != "" {
			uid, gid := numericUser(t, owner)
			if err := os.Chown(target, int(uid), int(gid)); err != nil {
				unable(t, "can't change an owner (this test wants root): %v", err)
			}
		}
	}
	return root
}

// command is a command in the container: in its root, as its user, with its environment and nothing else.
func (img *image) command(root string, args []string, env ...string) *exec.Cmd {
	return &exec.Cmd{
		Path: args[0], Args: args, Dir: "/", Env: append(append([]string{}, img.env...), env...),
		SysProcAttr: &syscall.SysProcAttr{Chroot: root, Credential: &syscall.Credential{Uid: img.uid, Gid: img.gid}},
	}
}

// onFreePorts makes the listeners of the environment listen on free ports of this machine's loopback.
func (img *image) onFreePorts(t *testing.T) {
	t.Helper()
	everywhere := regexp.MustCompile(`0\.0\.0\.0:(\d+)`)
	for i, e := range img.env {
		for _, found := range everywhere.FindAllStringSubmatch(e, -1) {
			if port, err := strconv.Atoi(found[1]); err != nil || port < 1024 {
				t.Errorf("%s wants a privileged port", e)
			}
		}
		img.env[i] = everywhere.ReplaceAllString(e, "127.0.0.1:0")
	}
}

// TestContainer enters the image's file system by chroot, read-only but for /data and without /proc, /dev and /etc, as the
// image's user, and sends and fetches with swaks and curl.
func TestContainer(t *testing.T) {
	t.Parallel()
	if os.Getuid() != 0 {
		unable(t, "this test wants root")
	}
	need(t, "swaks", "curl")
	img := readContainerfile(t, filepath.Join(repository, "deploy/container/Containerfile"))
	img.onFreePorts(t)
	root := img.unpack(t)
	static(t, filepath.Join(root, img.args[0]))
	cert, key := certificate(t)
	into(t, root, "/cert.pem", cert)
	into(t, root, "/key.pem", key)
	readOnlyBut(t, root, img.volume)

	args := append(img.args, "--log-format", "json", "--hostname", "localhost", "--tls-cert", "/cert.pem", "--tls-key", "/key.pem",
		"--account", alice+":"+password)
	s := begin(t, filepath.Join(root, img.volume), img.command(root, args))
	s.cert = cert
	s.ready("smtp", "pop3", "pop3s", "metrics")
	img.healthy(t, root)
	if out, err := img.command(root, []string{img.args[0], "user", "list"}).CombinedOutput(); err != nil || !bytes.Contains(out, []byte(alice)) {
		t.Errorf("user list: %v\n%s", err, out)
	}
	img.mail(t, s)
}

// healthy asks as the engine does.
func (img *image) healthy(t *testing.T, root string) {
	t.Helper()
	if out, err := img.command(root, img.health).CombinedOutput(); err != nil {
		t.Errorf("%v: %v\n%s", img.health, err, out)
	}
}

// mail runs the tests of the clients against s.
func (img *image) mail(t *testing.T, s *server) {
	for _, sc := range sendClients() {
		if sc.name == "swaks" || sc.name == "curl" {
			t.Run("send by "+sc.name, func(t *testing.T) {
				for _, mode := range []string{plain, starttls} {
					t.Run(mode, func(t *testing.T) { sc.all(t, s, mode) })
				}
			})
		}
	}
	for _, fc := range fetchClients() {
		if fc.name == "curl" {
			for _, mode := range fc.modes {
				t.Run("fetch by curl "+mode, func(t *testing.T) { fc.all(t, s, mode) })
			}
		}
	}
}

// static wants a binary that no loader has to complete: the image has none.
func static(t *testing.T, path string) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(b, []byte("/ld-linux")) {
		t.Errorf("%s is linked dynamically", path)
	}
	source, err := filepath.Abs(filepath.Join(repository, "cmd/letterbox/main.go"))
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(b, []byte(source)) {
		t.Errorf("%s names the folder in which it was built", path)
	}
}

// into copies a file to where the container's user can read it.
func into(t *testing.T, root, name, from string) {
	t.Helper()
	b, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(root, name), b, 0o644); err != nil {
		t.Fatal(err)
	}
}

// readOnlyBut mounts root read-only, and volume in it writable.
func readOnlyBut(t *testing.T, root, volume string) {
	t.Helper()
	inside := filepath.Join(root, volume)
	data := filepath.Join(t.TempDir(), "data")
	if err := os.Rename(inside, data); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(inside, 0o755); err != nil {
		t.Fatal(err)
	}
	readOnly(t, root)
	mount(t, data, inside, "", syscall.MS_BIND, "")
	if err := os.WriteFile(filepath.Join(root, "probe"), nil, 0o644); err == nil {
		t.Fatal("the root is writable")
	}
}
