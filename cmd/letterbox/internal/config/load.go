package config

import (
	"errors"
	"io/fs"
	"maps"
	"math"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"example.org/letterbox/cmd/letterbox/internal/listen"
)

// Where a configuration is looked for when neither --config nor $LETTERBOX_CONFIG names one.
const (
	fileHere   = "letterbox.toml"
	fileSystem = "/etc/letterbox/letterbox.toml"
	envConfig  = envPrefix + "CONFIG"
)

// SourceDefault is the source of a value that was given nowhere.
const SourceDefault = "default"

// Load resolves every key from flags, environment ("NAME=value" each), file and defaults. It returns an *Error with all
// mistakes when there is one.
func Load(flags *Flags, environ []string) (*Config, error) {
	keys := Keys()
	env := environment(environ)
	var wrong mistakes
	c := &Config{}
	file := layer{}
	if path := findFile(flags.file, env); path != "" {
		c.File = path
		file = readFile(path, keys, &wrong)
	}
	for _, k := range keys {
		r := raw{items: k.Default, source: SourceDefault}
		if given, ok := file[k.Name]; ok {
			r = given
		}
		if text, ok := env[k.Env()]; ok {
			r = raw{items: fromEnv(text, k), source: "$" + k.Env()}
		}
		c.resolve(k, flags.over(k, r), &wrong)
	}
	c.warnEnv(env, keys)
	c.derive(keyMetricsSMTPD, &c.Metrics.SMTPD, 1, &wrong)
	c.derive(keyMetricsPOP3D, &c.Metrics.POP3D, 2, &wrong)
	c.check(&wrong)
	return c, wrong.err()
}

func (c *Config) resolve(k Key, r raw, wrong *mistakes) {
	v := k.place(c)
	if err := v.set(r.items, r.base); err != nil {
		wrong.add("%s: %s", label(k, r.source), err)
		return
	}
	c.settings = append(c.settings, Setting{Key: k, Value: v.text(), Source: r.source})
}

// derive makes the default of a key from metrics.listen: its ports plus offset, so that roles which share a file don't
// collide. The port 0 stays, since the system chooses another one for each; a socket that is no HOST:PORT is of one role.
func (c *Config) derive(key string, at *[]listen.Address, offset int, wrong *mistakes) {
	i := slices.IndexFunc(c.settings, func(s Setting) bool { return s.Key.Name == key })
	if i < 0 || c.settings[i].Source != SourceDefault {
		return
	}
	for _, a := range c.Metrics.Listen {
		host, port, err := net.SplitHostPort(a.Text)
		n, portErr := strconv.Atoi(port)
		switch {
		case a.Network != "tcp" || err != nil || portErr != nil:
			continue
		case n+offset > math.MaxUint16:
			wrong.add("%s: metrics.listen has the port %d, and %s would have %d: set that key too", c.Source("metrics.listen"), n, key, n+offset)
		case n > 0:
			a.Text = net.JoinHostPort(host, strconv.Itoa(n+offset))
		}
		*at = append(*at, a)
	}
	c.settings[i].Value = c.settings[i].Key.place(c).text()
}

// label names a key by the place where its value was given, with the key itself where the place does not tell it.
func label(k Key, source string) string {
	if strings.HasPrefix(source, "$") || strings.HasPrefix(source, "--") && !strings.Contains(source, ",") {
		return source
	}
	return source + ": " + k.Name
}

// check finds what no single key can tell.
func (c *Config) check(wrong *mistakes) {
	if (c.TLS.Cert == "") != (c.TLS.Key == "") {
		wrong.add("tls.cert and tls.key belong together: only one of them is set")
	}
	if c.Data == "" {
		wrong.add("data is empty: name a folder")
	}
	c.checkListeners(wrong)
	c.checkProxies(wrong)
	c.checkLogins(wrong)
}

// leastTakeover is twice as long as a POP3 session that is at work may be silent towards the store.
const leastTakeover = 10 * time.Second

// checkLogins finds times with which sessions would lose their maildrop at work, or logins never have their turn.
func (c *Config) checkLogins(wrong *mistakes) {
	if d := c.POP3.TakeoverAfter; 0 < d && d < leastTakeover {
		wrong.add("%s: pop3.takeover_after is %s: write %s at least, or 0s for never; a session that sends a message may be silent for a while",
			c.Source("pop3.takeover_after"), FormatDuration(d), FormatDuration(leastTakeover))
	}
	if wait, auth := c.Limits.LoginMaxDelay, c.POP3.AuthTimeout; wait >= auth {
		wrong.add("limits.login_max_delay is %s and pop3.auth_timeout %s: the first must be the shorter, or a login that has to wait fails",
			FormatDuration(wait), FormatDuration(auth))
	}
}

// mailListeners returns the addresses of the daemons by the key that lists them, in the table's order.
func (c *Config) mailListeners() []listeners {
	return []listeners{{"smtp.listen", c.SMTP.Listen}, {"smtp.lmtp", c.SMTP.LMTP}, {"pop3.listen", c.POP3.Listen}}
}

type listeners struct {
	key       string
	addresses []listen.Address
}

// checkListeners finds addresses that can't be listened on, though each is well formed. Port 0 may stand any number of
// times: the system chooses another one for each.
func (c *Config) checkListeners(wrong *mistakes) {
	first := map[string]string{}
	for _, l := range append(c.mailListeners(), listeners{"metrics.listen", c.Metrics.Listen}) {
		for _, a := range l.addresses {
			place := listen.Address{Network: a.Network, Text: a.Text}.String()
			switch other, taken := first[place]; {
			case a.Network == "tcp" && strings.HasSuffix(a.Text, ":0"):
			case taken:
				wrong.add("address %q stands in %s and again in %s: each can be listened on once", place, other, l.key)
			default:
				first[place] = l.key
			}
		}
	}
}

// checkProxies finds addresses at which nobody could connect, or anybody could log in over a wire in clear.
func (c *Config) checkProxies(wrong *mistakes) {
	for _, l := range c.mailListeners() {
		for _, a := range l.addresses {
			if a.Proxy && a.Network != "unix" && len(c.Proxy.Trusted) == 0 {
				wrong.add("address %q in %s has the word proxy, but [proxy] trusted names no proxy: list the networks from which yours "+
					"connects, for instance trusted = [\"127.0.0.1\"]", a, l.key)
			}
			if a.TLSInFront && !a.Proxy && l.key == "pop3.listen" && !a.IsLoopback() {
				c.Warnings = append(c.Warnings, "address \""+a.String()+"\" in pop3.listen takes passwords in clear from whoever reaches it: "+
					"let it be reached by the proxy alone, or add the word proxy")
			}
		}
	}
}

func findFile(flag string, env map[string]string) string {
	if flag != "" {
		return flag
	}
	if path := env[envConfig]; path != "" {
		return path
	}
	for _, path := range []string{fileHere, fileSystem} {
		// A file that is there and can't be looked at is reported by whoever reads it, not passed over.
		if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
			return filepath.Clean(path)
		}
	}
	return ""
}

// environment returns the variables that may be keys. An empty one counts as not set: Compose's ${NAME:-} makes such.
func environment(environ []string) map[string]string {
	env := map[string]string{}
	for _, entry := range environ {
		if name, text, ok := strings.Cut(entry, "="); ok && text != "" && strings.HasPrefix(name, envPrefix) {
			env[name] = text
		}
	}
	return env
}

// fromEnv splits a list at commas and drops the blanks around its items; a comma alone is an empty list.
func fromEnv(text string, k Key) []string {
	if _, list := k.Kind(); !list {
		return one(text)
	}
	var items []string
	for item := range strings.SplitSeq(text, ",") {
		if item = strings.TrimSpace(item); item != "" {
			items = append(items, item)
		}
	}
	return items
}

// warnEnv names variables that look like a misspelt key. It is a warning and no mistake, because others may own the name:
// Kubernetes gives each container variables named after its services.
func (c *Config) warnEnv(env map[string]string, keys []Key) {
	known := []string{envConfig}
	for _, k := range keys {
		known = append(known, k.Env())
	}
	for _, name := range slices.Sorted(maps.Keys(env)) {
		if slices.Contains(known, name) {
			continue
		}
		if near := nearest(name, known); near != "" && distance(name, near) <= 2 {
			c.Warnings = append(c.Warnings, "the environment variable "+name+" is not known"+didYouMean(near))
		}
	}
}
