package config

import (
	"fmt"
	"strings"
)

// Reference returns the table of keys in Markdown, one table a section, for the README.
func Reference() string {
	var b strings.Builder
	b.WriteString("Each key is also an environment variable, `[smtp] listen` for instance `LETTERBOX_SMTP_LISTEN`; the items of a list are\n" +
		"separated by commas there, and an empty variable counts as not set. Sizes are written as `50MiB`, durations as `30s`, `10m`,\n" +
		"`12h` or `7d`, addresses as `HOST:PORT`, `unix:PATH` or `fd:NAME`; `localhost` listens on both loopbacks.\n\n")
	section := "\x00"
	for _, k := range Keys() {
		if s := k.Section(); s != section {
			section = s
			b.WriteString(heading(s))
			b.WriteString("| key | value | default | flag | reload | meaning |\n| --- | --- | --- | --- | --- | --- |\n")
		}
		b.WriteString(row(k))
	}
	return b.String()
}

func heading(section string) string {
	if section == "" {
		return "Above all sections:\n\n"
	}
	return "\n`[" + section + "]`\n\n"
}

func row(k Key) string {
	word, list := k.Kind()
	if list {
		word = "list of " + word
	}
	var flags []string
	for _, f := range k.Flags {
		flags = append(flags, "`--"+f.Name+"`")
	}
	reload := "restart"
	if k.Reload {
		reload = "SIGHUP"
	}
	key := k.Name[strings.LastIndexByte(k.Name, '.')+1:]
	return fmt.Sprintf("| `%s` | %s | %s | %s | %s | %s |\n",
		key, word, defaultText(k), strings.Join(flags, " "), reload, strings.ReplaceAll(k.Text, "|", `\|`))
}

// defaultText prints the default as the file would have it. Some depend on the machine or on another key.
func defaultText(k Key) string {
	_, list := k.Kind()
	switch {
	case k.Name == "hostname", k.Name == "run", k.Name == keyMetricsSMTPD, k.Name == keyMetricsPOP3D:
		return "see text"
	case len(k.Default) == 0 || k.Default[0] == "":
		return ""
	case list && len(k.Default) > 1:
		return "`[\"" + strings.Join(k.Default, `", "`) + "\"]`"
	}
	return "`" + k.Default[0] + "`"
}
