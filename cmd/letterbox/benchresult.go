package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"

	"example.org/letterbox/cmd/letterbox/internal/probe/bench"
	"example.org/letterbox/cmd/letterbox/internal/term"
)

// printResult prints a result for people.
func printResult(w io.Writer, r *bench.Result) error {
	rows := [][]string{
		{r.Unit, fmt.Sprintf("%d in %.2f s, %d connections", r.Done, r.Seconds, r.Connections)},
		{r.Unit + " per second", number(r.Rate)},
	}
	if r.Octets > 0 {
		rows = append(rows, []string{"octets", fmt.Sprintf("%s, %s per second", term.Octets(r.Octets), term.Octets(int64(r.OctetRate)))})
	}
	if r.Retrievable > 0 {
		rows = append(rows, []string{"accepted and retrievable", fmt.Sprintf("after %.2f s, %s per second", r.Retrievable, number(r.RetrievableRate))})
	}
	for _, step := range slices.Sorted(maps.Keys(r.Latency)) {
		p := r.Latency[step]
		rows = append(rows, []string{step + ", ms", fmt.Sprintf("p50 %s, p90 %s, p99 %s, max %s of %d", number(p.P50), number(p.P90), number(p.P99), number(p.Max), p.Count)})
	}
	rows = append(rows, checkRows(r.Check)...)
	rows = append(rows, processRows(r)...)
	if r.CutOff > 0 {
		rows = append(rows, []string{"under way at the end", strconv.FormatInt(r.CutOff, 10)})
	}
	for _, kind := range slices.Sorted(maps.Keys(r.Errors)) {
		f := r.Errors[kind]
		rows = append(rows, []string{"failed: " + kind, fmt.Sprintf("%d, for instance %s", f.Count, f.Example)})
	}
	return term.Table(w, []string{"WHAT", "VALUE"}, rows)
}

func checkRows(c *bench.Check) [][]string {
	if c == nil {
		return nil
	}
	return [][]string{
		{"messages of bench", fmt.Sprintf("%d intact, %d altered, %d twice", c.Intact, c.Altered, c.Twice)},
		{"other messages", strconv.FormatInt(c.Unknown, 10)},
		{"octets other than LIST says", fmt.Sprintf("in %d messages", c.Octets)},
	}
}

func processRows(r *bench.Result) [][]string {
	p := r.Server
	if p == nil {
		return nil
	}
	rows := [][]string{
		{"server's CPU", fmt.Sprintf("%.2f s, %.3f s per 1000 %s, %d processes", p.CPU, p.CPUPer1000, r.Unit, p.Number)},
		{"server's memory", fmt.Sprintf("%s resident, %s without what processes share", term.Octets(p.RSS), term.Octets(p.PSS))},
	}
	if p.PerSession != 0 {
		rows = append(rows, []string{"memory per session", term.Octets(p.PerSession)})
	}
	return rows
}

// number prints with three digits that mean something.
func number(f float64) string {
	switch {
	case f >= 100:
		return strconv.FormatFloat(f, 'f', 0, 64)
	case f >= 10:
		return strconv.FormatFloat(f, 'f', 1, 64)
	}
	return strconv.FormatFloat(f, 'f', 2, 64)
}
