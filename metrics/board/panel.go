package board

import (
	"slices"
	"strings"

	"example.org/letterbox/metrics"
)

// Query is one expression of a panel, and the name of its lines.
type Query struct{ Expr, Legend string }

// Panel is one picture of the dashboard.
type Panel struct {
	Row       metrics.Row
	Title     string
	Text      string // what is seen, and what to make of it
	Unit      string // Grafana's name of it
	Stat      bool   // one number instead of a graph
	Queries   []Query
	Warn, Bad float64 // where it turns yellow and red, 0 for never
	Below     bool    // it turns so below these instead of above
}

// pick selects the series of the dashboard's variables.
const pick = `job=~"$job",instance=~"$instance"`

// rows returns the rows in their order.
func rows() []metrics.Row {
	return []metrics.Row{metrics.Flow, metrics.RowSMTP, metrics.Abuse, metrics.RowPOP3, metrics.Store, metrics.RowTLS, metrics.Runtime}
}

// Panels returns all panels, row by row: those made by hand first, then those that the table describes.
func Panels() []Panel {
	var all []Panel
	for _, row := range rows() {
		for _, p := range slices.Concat(flowPanels(), otherPanels(), runtimePanels(), tablePanels()) {
			if p.Row == row {
				all = append(all, p)
			}
		}
	}
	return all
}

// tablePanels makes a panel of all instruments with the same row and title.
func tablePanels() []Panel {
	var all []Panel
	for _, i := range metrics.Instruments() {
		if i.Panel == "" {
			continue
		}
		at := slices.IndexFunc(all, func(p Panel) bool { return p.Row == i.Row && p.Title == i.Panel })
		if at < 0 {
			all = append(all, Panel{Row: i.Row, Title: i.Panel, Text: i.Help, Unit: unitOf(i), Warn: i.Warn, Bad: i.Bad})
			at = len(all) - 1
		} else {
			all[at].Text += " " + i.Help
		}
		all[at].Queries = append(all[at].Queries, queries(i)...)
	}
	return all
}

// queries are the expressions that show an instrument.
func queries(i metrics.Instrument) []Query {
	series := "{" + pick + "}"
	short := strings.ReplaceAll(strings.TrimSuffix(shortName(i.Name), "_total"), "_", " ")
	by, legend := "", short
	if i.By != "" {
		by, legend = " by ("+i.By+")", "{{"+i.By+"}}"
	}
	switch i.Kind {
	case metrics.Counter:
		return []Query{{"sum" + by + " (rate(" + i.Name + series + "[$__rate_interval]))", legend}}
	case metrics.Histogram:
		bucket := "sum by (le) (rate(" + i.Name + "_bucket" + series + "[$__rate_interval]))"
		return []Query{{"histogram_quantile(0.5, " + bucket + ")", "half"}, {"histogram_quantile(0.99, " + bucket + ")", "99 of 100"}}
	}
	if i.Unit == metrics.Ratio {
		return []Query{{"max" + by + " (" + i.Name + series + ")", legend}}
	}
	return []Query{{"sum" + by + " (" + i.Name + series + ")", legend}}
}

// shortName leaves out what all names of a row have in common.
func shortName(name string) string {
	for _, prefix := range []string{"letterbox_smtp_", "letterbox_pop3_", "letterbox_store_", "letterbox_tls_", "letterbox_canary_"} {
		if s, ok := strings.CutPrefix(name, prefix); ok {
			return s
		}
	}
	return name
}

// unitOf is Grafana's name of an instrument's unit as its panel shows it.
func unitOf(i metrics.Instrument) string {
	switch {
	case i.Unit == metrics.Bytes && i.Kind == metrics.Counter:
		return "Bps"
	case i.Unit == metrics.Bytes:
		return "bytes"
	case i.Unit == metrics.Seconds:
		return "s"
	case i.Unit == metrics.Ratio:
		return "percentunit"
	case i.Kind == metrics.Counter:
		return "cps"
	}
	return "short"
}
