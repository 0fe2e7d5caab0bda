package board

import (
	"fmt"
	"strings"
)

// ScrapeConfig returns a job for Prometheus's scrape_configs.
func ScrapeConfig(job string, targets []string) []byte {
	var b strings.Builder
	b.WriteString("# Made by `letterbox monitor scrape-config`: an item of scrape_configs, or a file of scrape_config_files.\n")
	fmt.Fprintf(&b, "scrape_configs:\n  - job_name: %s\n    scrape_interval: 15s\n    static_configs:\n      - targets:\n", quote(job))
	for _, t := range targets {
		fmt.Fprintf(&b, "          - %s\n", quote(t))
	}
	return []byte(b.String())
}
