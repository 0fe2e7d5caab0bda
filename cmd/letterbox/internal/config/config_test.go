package config

import (
	"errors"
	"flag"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"example.org/letterbox/cmd/letterbox/internal/listen"
)

// load resolves a configuration from the text of a file, an environment and a command line.
func load(t *testing.T, file string, environ []string, args ...string) (*Config, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "letterbox.toml")
	if err := os.WriteFile(path, []byte(file), 0o600); err != nil {
		t.Fatal(err)
	}
	fs := flag.NewFlagSet("test", flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	flags := Register(fs, func(Key) bool { return true })
	if err := fs.Parse(append([]string{"--config", path}, args...)); err != nil {
		t.Fatal(err)
	}
	return Load(flags, environ)
}

func mustLoad(t *testing.T, file string, environ []string, args ...string) *Config {
	t.Helper()
	c, err := load(t, file, environ, args...)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func values(c *Config, name string) []string {
	for _, s := range c.Settings() {
		if s.Key.Name == name {
			return s.Value
		}
	}
	return nil
}

func TestDefaults(t *testing.T) {
	c := mustLoad(t, "", nil)
	for name, want := range map[string][]string{
		"smtp.listen":                 {"localhost:2525"},
		"smtp.lmtp":                   {"off"},
		"pop3.listen":                 {"localhost:2110", "localhost:2995 tls"},
		"metrics.listen":              {"localhost:9725"},
		"data":                        {"letterbox-data"},
		"smtp.max_message_bytes":      {"50MiB"},
		"limits.password_hash_memory": {"64MiB"},
		"pop3.plaintext":              {"loopback"},
	} {
		if got := values(c, name); !slices.Equal(got, want) {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
		if got := c.Source(name); got != "default" {
			t.Errorf("%s came from %q", name, got)
		}
	}
	if len(c.Warnings) != 0 {
		t.Errorf("warnings: %q", c.Warnings)
	}
}

// TestTable holds the table to what its readers rely on.
func TestTable(t *testing.T) {
	flags, names := map[string]bool{"config": true}, map[string]bool{}
	for _, k := range Keys() {
		if names[k.Name] {
			t.Errorf("%s stands twice in the table", k.Name)
		}
		names[k.Name] = true
		if k.Name != strings.ToLower(k.Name) || strings.Contains(k.Name, "-") {
			t.Errorf("%s is no snake_case", k.Name)
		}
		if k.Text == "" || !strings.HasSuffix(k.Text, ".") {
			t.Errorf("%s has no whole sentence for the reference", k.Name)
		}
		if _, list := k.Kind(); !list && len(k.Default) != 1 {
			t.Errorf("%s has %d defaults", k.Name, len(k.Default))
		}
		for _, f := range k.Flags {
			if flags[f.Name] {
				t.Errorf("--%s stands twice in the table", f.Name)
			}
			flags[f.Name] = true
		}
		// A value prints what it reads.
		c := &Config{}
		v := k.place(c)
		if err := v.set(k.Default, ""); err != nil {
			t.Errorf("%s refuses its own default: %v", k.Name, err)
		}
		if err := v.set(v.text(), ""); err != nil {
			t.Errorf("%s refuses what it prints: %v", k.Name, err)
		}
		if !strings.Contains(Reference(), "`"+k.Name[strings.LastIndexByte(k.Name, '.')+1:]+"`") {
			t.Errorf("%s is missing in the reference", k.Name)
		}
	}
}

// TestEveryFieldHasKey finds a field of Config that no key sets: it would be configuration that nobody can reach.
func TestEveryFieldHasKey(t *testing.T) {
	c := &Config{}
	places := map[uintptr]bool{}
	for _, k := range Keys() {
		for v, i := reflect.ValueOf(k.place(c)), 0; i < v.NumField(); i++ {
			if v.Field(i).Kind() == reflect.Pointer {
				places[v.Field(i).Pointer()] = true
			}
		}
	}
	var walk func(reflect.Value, string)
	walk = func(v reflect.Value, path string) {
		for i := range v.NumField() {
			field := v.Type().Field(i)
			if !field.IsExported() || path == "" && (field.Name == "File" || field.Name == "Warnings") {
				continue
			}
			if field.Type.Kind() == reflect.Struct && field.Type != reflect.TypeFor[listen.Address]() {
				walk(v.Field(i), path+field.Name+".")
			} else if !places[v.Field(i).Addr().Pointer()] {
				t.Errorf("no key sets %s%s", path, field.Name)
			}
		}
	}
	walk(reflect.ValueOf(c).Elem(), "")
}

func TestPrecedence(t *testing.T) {
	file := "hostname = \"file.example\"\n[smtp]\nmax_message_bytes = \"1MiB\"\nmax_recipients = 7\n[log]\nlevel = \"warn\"\n"
	env := []string{"LETTERBOX_HOSTNAME=env.example", "LETTERBOX_SMTP_MAX_MESSAGE_BYTES=2MiB", "OTHER=x"}
	c := mustLoad(t, file, env, "--hostname", "flag.example")
	if c.Hostname != "flag.example" || c.SMTP.MaxMessageBytes != 2<<20 || c.SMTP.MaxRecipients != 7 || c.Log.Level != "warn" {
		t.Errorf("%q %d %d %q", c.Hostname, c.SMTP.MaxMessageBytes, c.SMTP.MaxRecipients, c.Log.Level)
	}
	for name, want := range map[string]string{
		"hostname": "--hostname", "smtp.max_message_bytes": "$LETTERBOX_SMTP_MAX_MESSAGE_BYTES",
		"smtp.max_recipients": c.File + ":4", "pop3.plaintext": "default",
	} {
		if got := c.Source(name); got != want {
			t.Errorf("%s came from %q, want %q", name, got, want)
		}
	}
}

// TestPartFlags shows that --pop3 and --pop3s each replace their own kind of entry in the layers below.
func TestPartFlags(t *testing.T) {
	for _, test := range []struct {
		file string
		env  string
		args []string
		want []string
	}{
		{"", "", []string{"--pop3", "127.0.0.1:0"}, []string{"127.0.0.1:0", "localhost:2995 tls"}},
		{"", "", []string{"--pop3s", "127.0.0.1:0"}, []string{"localhost:2110", "127.0.0.1:0 tls"}},
		{"", "", []string{"--pop3", "off"}, []string{"localhost:2995 tls"}},
		{"", "", []string{"--pop3s", "off"}, []string{"localhost:2110"}},
		{"", "", []string{"--pop3", "off", "--pop3s", "off"}, []string{"off"}},
		{"", "", []string{"--pop3", ":1", "--pop3", ":2", "--pop3s", ":3 tls"}, []string{":1", ":2", ":3 tls"}},
		{"listen = [\":1\", \":2 tls\", \":3\"]", "", []string{"--pop3s", ":9"}, []string{":1", ":3", ":9 tls"}},
		{"listen = \":1\"", ":4, :5 tls", nil, []string{":4", ":5 tls"}},
		{"listen = \":1\"", "off", []string{"--pop3s", ":9"}, []string{":9 tls"}},
		{"listen = []", "", nil, []string{"off"}},
		{"listen = \"off\"", "", nil, []string{"off"}},
	} {
		var env []string
		if test.env != "" {
			env = []string{"LETTERBOX_POP3_LISTEN=" + test.env}
		}
		c := mustLoad(t, "[pop3]\n"+test.file+"\n", env, test.args...)
		if got := values(c, "pop3.listen"); !slices.Equal(got, test.want) {
			t.Errorf("file %q, env %q, flags %q: %q, want %q", test.file, test.env, test.args, got, test.want)
		}
	}
}

// TestPOP3Extras reads the keys of kinds that no other section has.
func TestPOP3Extras(t *testing.T) {
	c := mustLoad(t, "[pop3]\nscram = true\nlogin_delay = \"90s\"\nworkarounds = [\"outlook-no-nuls\", \"outlook-no-nuls\"]\n", nil)
	if p := c.POP3; !p.SCRAM || p.LoginDelay != 90*time.Second || !slices.Equal(p.Workarounds, []string{WorkaroundNoNULs}) {
		t.Errorf("%+v", p)
	}
	c = mustLoad(t, "", []string{"LETTERBOX_POP3_SCRAM=true", "LETTERBOX_POP3_WORKAROUNDS=outlook-no-nuls"})
	if p := c.POP3; !p.SCRAM || len(p.Workarounds) != 1 {
		t.Errorf("%+v", p)
	}
	if p := mustLoad(t, "", nil).POP3; p.SCRAM || p.LoginDelay != 0 || len(p.Workarounds) != 0 || p.MaxCommands != 1_000_000 || p.MaxCommandBytes != 255 {
		t.Errorf("defaults: %+v", p)
	}
}

func TestMistakes(t *testing.T) {
	for _, test := range []struct{ file, want string }{
		{"[smtp]\nlistn = \"x:1\"", `letterbox.toml:2: unknown key "smtp.listn"; did you mean smtp.listen?`},
		{"smtp.lissen = \"x:1\"", `letterbox.toml:1: unknown key "smtp.lissen"; did you mean smtp.listen?`},
		{"\n[limit]\nmax_connections = 1", `letterbox.toml:2: unknown section [limit]; did you mean [limits]?`},
		{"[smtp]\nplaintext = \"never\"", `letterbox.toml:2: unknown key "smtp.plaintext"; did you mean pop3.plaintext?`},
		{"colour = 1", "unknown key \"colour\"; `letterbox config reference` lists them all"},
		{"[smtp.sub]\nx = 1", `letterbox.toml:1: unknown key "smtp.sub"`},
		{"smtp = 1", "this is a section: write [smtp] on a line of its own"},
		{"[smtp]\nmax_message_bytes = \"fifty\"", `letterbox.toml:2: smtp.max_message_bytes: "fifty" is no size: write it as 50MiB`},
		{"[smtp]\nmax_message_bytes = 1", "1 is not between 64KiB and 1GiB"},
		{"[smtp]\nidle_timeout = -1", `"-1" is no duration`},
		{"[smtp]\nmax_recipients = [1, 2]", "smtp.max_recipients takes one value (number), not a list"},
		{"[smtp]\nmax_recipients = 2020-01-01", "smtp.max_recipients takes a number in quotes"},
		{"[smtp]\nbare_newlines = \"keep\"", `"keep" is none of normalize, refuse`},
		{"[pop3]\nscram = \"yes\"", `letterbox.toml:2: pop3.scram: "yes" is neither true nor false`},
		{"[pop3]\nworkarounds = \"oe-ns-eoh\"", `"oe-ns-eoh" is none of outlook-no-nuls`},
		{"[pop3]\nmax_command_bytes = 254", "254 is not between 255 and 8192"},
		{"[pop3]\nmax_commands = 0", "0 is not between 1000 and 2147483647"},
		{"[smtp]\nlisten = [\"off\", \":1\"]", `"off" stands for no address and can't stand beside others`},
		{"[smtp]\ndomains = [\"exa mple\"]", `"exa mple" has a domain that is no domain name`},
		{"[limits]\nexempt = [\"10.0.0.1\", \"10.0.0.0/33\"]", `"10.0.0.0/33" is no network`},
		{"hostname = \"192.0.2.1\"", `"192.0.2.1" is an address`},
		{"[tls]\ncert = \"x.pem\"", "tls.cert and tls.key belong together"},
		{"[pop3]\ntakeover_after = \"9s\"", "pop3.takeover_after is 9s: write 10s at least, or 0s for never"},
		{"[pop3]\nauth_timeout = \"10s\"", "limits.login_max_delay is 10s and pop3.auth_timeout 10s: the first must be the shorter"},
		{"hostname = ", "letterbox.toml:1: "},
		{"[smtp]\nlisten = 2020-01-01", "smtp.listen takes a list of addresses, each in quotes"},
		{"[accounts]\ncreate = [2020-01-01]", "accounts.create takes a list of accounts, each in quotes"},
		{"[log]\nlevel = 2020-01-01", "log.level takes one of debug, info, warn, error in quotes"},
		{"data = \"a\"\ndata = \"b\"", "letterbox.toml:2: "},
	} {
		_, err := load(t, test.file, nil)
		if wrong := (*Error)(nil); !errors.As(err, &wrong) || len(wrong.Mistakes) != 1 || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%q: %v, want %q", test.file, err, test.want)
		}
	}
}

func TestAllMistakesAtOnce(t *testing.T) {
	_, err := load(t, "[smtp]\nlistn = 1\nmax_recipients = 0\n", []string{"LETTERBOX_LOG_LEVEL=loud"}, "--pop3", "nowhere")
	wrong := (*Error)(nil)
	if !errors.As(err, &wrong) || len(wrong.Mistakes) != 4 {
		t.Fatalf("%v", err)
	}
	for _, part := range []string{"smtp.listn", "smtp.max_recipients", "$LETTERBOX_LOG_LEVEL", "pop3.listen"} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%q says nothing of %s", err, part)
		}
	}
}

func TestMissingFile(t *testing.T) {
	fs := flag.NewFlagSet("test", flag.ContinueOnError)
	flags := Register(fs, func(Key) bool { return true })
	_, err := Load(flags, []string{"LETTERBOX_CONFIG=/nonexistent/letterbox.toml"})
	if err == nil || !strings.Contains(err.Error(), "/nonexistent/letterbox.toml can't be read: no such file") {
		t.Errorf("%v", err)
	}
}

// TestSecretsStayHidden looks for a password in everything that may be printed.
func TestSecretsStayHidden(t *testing.T) {
	c := mustLoad(t, "", nil, "--account", "me@example.org:tops3cret", "--account", "you@example.org")
	if got := c.Accounts.Create; len(got) != 2 || got[0] != (NewAccount{"me@example.org", "tops3cret"}) || got[1].Password != "" {
		t.Errorf("%+v", got)
	}
	for _, s := range c.Settings() {
		if strings.Contains(strings.Join(s.Value, " ")+s.Source, "tops3cret") {
			t.Errorf("%s shows the password", s.Key.Name)
		}
	}
	_, err := load(t, "", nil, "--account", "no-address:tops3cret")
	if err == nil || strings.Contains(err.Error(), "tops3cret") {
		t.Errorf("%v", err)
	}
}

func TestRelativePathsInFile(t *testing.T) {
	c := mustLoad(t, "data = \"mail\"\n[tls]\ncert = \"/etc/c.pem\"\nkey = \"k.pem\"\n", nil)
	dir := filepath.Dir(c.File)
	if c.Data != filepath.Join(dir, "mail") || c.TLS.Cert != "/etc/c.pem" || c.TLS.Key != filepath.Join(dir, "k.pem") {
		t.Errorf("%q %q %q", c.Data, c.TLS.Cert, c.TLS.Key)
	}
	if c := mustLoad(t, "data = \"mail\"\n", nil, "--data", "here"); c.Data != "here" {
		t.Errorf("%q", c.Data)
	}
}

func TestChangedKeysThatNeedRestart(t *testing.T) {
	before := mustLoad(t, "", nil)
	after := mustLoad(t, "[smtp]\nlisten = \":1\"\nmax_recipients = 5\n[limits]\npassword_hash_memory = \"1GiB\"\n", nil)
	if got := before.Changed(after); !slices.Equal(got, []string{"smtp.listen", "limits.password_hash_memory"}) {
		t.Errorf("%q", got)
	}
	if got := before.Changed(before); got != nil {
		t.Errorf("%q", got)
	}
}

func TestWarnings(t *testing.T) {
	c := mustLoad(t, "", []string{
		"LETTERBOX_SMTP_LISTN=:1", "LETTERBOX_SERVICE_HOST=10.0.0.1", "LETTERBOX_LONG=1", "LETTERBOX_STORE_BODY_MEMORY=1MiB",
	})
	text := strings.Join(c.Warnings, "\n")
	if len(c.Warnings) != 1 || !strings.Contains(text, "LETTERBOX_SMTP_LISTN is not known; did you mean LETTERBOX_SMTP_LISTEN?") {
		t.Errorf("%q", c.Warnings)
	}
}

func TestUnits(t *testing.T) {
	for text, want := range map[string]int64{
		"0": 0, "1": 1, "12B": 12, "50MiB": 50 << 20, "50 mib": 50 << 20, "1GB": 1e9, "3kB": 3000, "8TiB": 8 << 40,
	} {
		if n, err := ParseSize(text); err != nil || n != want {
			t.Errorf("%q is %d, %v", text, n, err)
		}
	}
	for _, text := range []string{"", "MiB", "-1", "1.5MiB", "1 M", "9999999999TiB", "99999999999999999999", "0x10", "1MiBMiB"} {
		if n, err := ParseSize(text); err == nil {
			t.Errorf("%q became %d", text, n)
		}
	}
	for text, want := range map[string]time.Duration{
		"10m": 10 * time.Minute, "7d": 7 * day, "1d12h": 36 * time.Hour, "90s": 90 * time.Second, "0": 0, "1h30m": 90 * time.Minute,
	} {
		if d, err := ParseDuration(text); err != nil || d != want {
			t.Errorf("%q is %s, %v", text, d, err)
		}
	}
	for _, text := range []string{"", "d", "10", "-1m", "1d-2h", "+5m", "7d7d", "99999999999d", "1w"} {
		if d, err := ParseDuration(text); err == nil {
			t.Errorf("%q became %s", text, d)
		}
	}
	for d, want := range map[time.Duration]string{
		10 * time.Minute: "10m", 36 * time.Hour: "1d12h", 7 * day: "7d", 4 * time.Hour: "4h", 90 * time.Second: "1m30s", 0: "0s",
	} {
		if got := FormatDuration(d); got != want {
			t.Errorf("%v printed as %q, want %q", d, got, want)
		}
	}
}

// TestMetricsOfRoles makes the daemons' addresses from the store's where they are not given.
func TestMetricsOfRoles(t *testing.T) {
	for _, c := range []struct{ listen, smtpd, pop3d string }{
		{"", "localhost:9726", "localhost:9727"},
		{"off", "off", "off"},
		{"127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:0"},
		{"[::]:9000", "[::]:9001", "[::]:9002"},
		{"unix:/run/x.sock", "off", "off"},
	} {
		cfg, err := Load(&Flags{}, []string{"LETTERBOX_METRICS_LISTEN=" + c.listen, "LETTERBOX_CONFIG=/dev/null"})
		if err != nil {
			t.Fatal(err)
		}
		for name, want := range map[string]string{keyMetricsSMTPD: c.smtpd, keyMetricsPOP3D: c.pop3d} {
			if got := strings.Join(cfg.Value(name), ","); got != want {
				t.Errorf("with metrics.listen %q %s is %s, want %s", c.listen, name, got, want)
			}
		}
	}
	cfg, err := Load(&Flags{}, []string{"LETTERBOX_METRICS_SMTPD=off", "LETTERBOX_CONFIG=/dev/null"})
	if err != nil || len(cfg.Metrics.SMTPD) != 0 || len(cfg.Metrics.POP3D) != 1 {
		t.Errorf("%v, %v", cfg, err)
	}
	if _, err := Load(&Flags{}, []string{"LETTERBOX_METRICS_LISTEN=:65534", "LETTERBOX_CONFIG=/dev/null"}); err == nil || !strings.Contains(err.Error(), "65536") {
		t.Errorf("a port beyond the last: %v", err)
	}
}
