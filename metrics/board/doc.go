// Package board makes a Grafana dashboard, Prometheus rules and a scrape configuration from the table of instruments, so that
// none of them names a series that letterbox does not have.
package board

// RunbookURL is where the alerts send their reader: a file of this repository, until it has a host.
const RunbookURL = "https://example.org/letterbox/deploy/runbook.md"

// Job is the default name of the scrape job.
const Job = "letterbox"
