package board

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"example.org/letterbox/metrics"
)

const deploy = "../../deploy"

func TestMain(m *testing.M) {
	flag.Bool("update", false, "write the files in deploy/monitoring")
	os.Exit(m.Run())
}

// TestRendered: what stands in deploy/monitoring is what the commands print.
func TestRendered(t *testing.T) {
	one := []string{"localhost:9725"}
	for name, want := range map[string][]byte{
		"dashboard.json": Dashboard(), "rules.yml": Defaults().Write(), "scrape.yml": ScrapeConfig(Job, one),
		"scrape-split.yml": ScrapeConfig(Job, append(one, "localhost:9726", "localhost:9727")),
	} {
		path := filepath.Join(deploy, "monitoring", name)
		if flag.Lookup("update").Value.String() == "true" {
			if err := os.WriteFile(path, want, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if have, err := os.ReadFile(path); err != nil || !bytes.Equal(have, want) {
			t.Errorf("%s is stale (%v): go test ./metrics/board -update", path, err)
		}
	}
}

// expressions are all of the dashboard and the rules.
func expressions() []string {
	var all []string
	for _, p := range Panels() {
		for _, q := range p.Queries {
			all = append(all, q.Expr)
		}
	}
	for _, r := range Defaults().Recordings() {
		all = append(all, r.Expr)
	}
	for _, r := range Defaults().Rules() {
		all = append(all, r.Expr)
	}
	return all
}

// TestExpressionsNameInstruments: every series that an expression names is in the table, and every row of the table is shown.
func TestExpressionsNameInstruments(t *testing.T) {
	known := map[string]bool{}
	for _, i := range metrics.Instruments() {
		known[i.Name] = true
	}
	for _, r := range Defaults().Recordings() {
		known[r.Name] = true
	}
	shown := map[string]bool{}
	name := regexp.MustCompile(`(job:)?letterbox_[a-z0-9_]+(:[a-z0-9]+)?`)
	for _, expr := range expressions() {
		for _, n := range name.FindAllString(expr, -1) {
			if base := strings.TrimSuffix(n, "_bucket"); !known[n] {
				n = base
			}
			if shown[n] = true; !known[n] {
				t.Errorf("%s is no series of letterbox: %s", n, expr)
			}
		}
	}
	for _, i := range metrics.Instruments() {
		if !shown[i.Name] {
			t.Errorf("nothing shows %s", i.Name)
		}
	}
}

// TestPanels: each row has panels, and each panel says what it shows, in which unit.
func TestPanels(t *testing.T) {
	seen := map[string]bool{}
	for _, row := range rows() {
		if !slices.ContainsFunc(Panels(), func(p Panel) bool { return p.Row == row }) {
			t.Errorf("the row %q is empty", row)
		}
	}
	for _, p := range Panels() {
		if p.Title == "" || len(p.Text) < 10 || p.Unit == "" || len(p.Queries) == 0 || seen[string(p.Row)+p.Title] {
			t.Errorf("panel %+v", p)
		}
		seen[string(p.Row)+p.Title] = true
	}
}

// TestSteps: thresholds go upwards, and below means below.
func TestSteps(t *testing.T) {
	for _, test := range []struct {
		p    Panel
		want string
	}{
		{Panel{}, `[{"color":"green","value":null}]`},
		{Panel{Warn: 1, Bad: 2}, `[{"color":"green","value":null},{"color":"yellow","value":1},{"color":"red","value":2}]`},
		{Panel{Warn: 2, Bad: 1, Below: true}, `[{"color":"red","value":null},{"color":"yellow","value":1},{"color":"green","value":2}]`},
		{Panel{Bad: 1, Below: true}, `[{"color":"red","value":null},{"color":"green","value":1}]`},
	} {
		if got, err := json.Marshal(test.p.steps()); err != nil || string(got) != test.want {
			t.Errorf("%+v has the steps %s, want %s", test.p, got, test.want)
		}
	}
}

// TestGrid: panels neither overlap nor leave the grid.
func TestGrid(t *testing.T) {
	var d struct {
		Panels []struct {
			ID      int
			Title   string
			GridPos struct{ X, Y, W, H int }
		}
	}
	if err := json.Unmarshal(Dashboard(), &d); err != nil {
		t.Fatal(err)
	}
	taken := map[[2]int]string{}
	for _, p := range d.Panels {
		g := p.GridPos
		for x := g.X; x < g.X+g.W; x++ {
			for y := g.Y; y < g.Y+g.H; y++ {
				if other := taken[[2]int{x, y}]; other != "" || x >= gridWidth {
					t.Fatalf("%s lies over %q or the edge", p.Title, other)
				}
				taken[[2]int{x, y}] = p.Title
			}
		}
	}
}

// TestRunbook: every alert has all that its reader needs, and a section in the runbook.
func TestRunbook(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(deploy, "runbook.md"))
	if err != nil {
		t.Fatal(err)
	}
	sections := map[string]bool{}
	for line := range strings.Lines(string(text)) {
		if title, ok := strings.CutPrefix(line, "## "); ok {
			sections[strings.TrimSpace(title)] = true
		}
	}
	camel := regexp.MustCompile(`^Letterbox([A-Z][A-Za-z]+)+$`)
	for _, r := range Defaults().Rules() {
		if !sections[r.Name] {
			t.Errorf("the runbook has no section %s", r.Name)
		}
		delete(sections, r.Name)
		if !camel.MatchString(r.Name) || r.For < time.Minute || r.Summary == "" || len(r.Text) < 40 ||
			r.Severity != "critical" && r.Severity != "warning" {
			t.Errorf("alert %+v", r)
		}
	}
	for section := range sections {
		t.Errorf("the runbook's section %s belongs to no alert", section)
	}
}
