package config

// webKeys are further keys of the metrics.
func webKeys() []Key {
	return []Key{{
		Name: "metrics.web_config", Default: one(""),
		Text: "A file that asks for TLS and passwords (basic auth) in front of the metrics, in the form that Prometheus's own programs " +
			"read: `tls_server_config` and `basic_auth_users`. It is read again at each request. Without one there is plain HTTP.",
		place: func(c *Config) value { return pathValue{&c.Metrics.WebConfig} },
	}, {
		Name: "metrics.per_account", Default: one("false"),
		Text:  "Whether there are series for each account, with its address as a label: for the first 100, and one for all others together.",
		place: func(c *Config) value { return switchValue{&c.Metrics.PerAccount} },
	}, {
		Name: "metrics.pprof", Default: one("false"),
		Text:  "Whether Go's profiles are served beside the metrics, at `/debug/pprof/`.",
		place: func(c *Config) value { return switchValue{&c.Metrics.Pprof} },
	}}
}
