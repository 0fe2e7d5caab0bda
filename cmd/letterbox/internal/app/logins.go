package app

import (
	"example.org/letterbox/cmd/letterbox/internal/config"
	"example.org/letterbox/store/boltstore"
	"example.org/letterbox/store/secret"
)

// loginPolicy is what the owner of the store lets logins do.
func loginPolicy(c *config.Config) boltstore.LoginPolicy {
	return boltstore.LoginPolicy{
		TakeoverAfter: c.POP3.TakeoverAfter,
		LoginDelay:    c.POP3.LoginDelay,
		Throttle: secret.ThrottlePolicy{
			Free:     c.Limits.LoginFreeFailures,
			MaxDelay: c.Limits.LoginMaxDelay,
			BanAfter: c.Limits.LoginBanAfter,
			Memory:   c.Limits.LoginBanTime,
			Exempt:   c.Limits.Exempt, ExemptProxied: c.Limits.ExemptProxied,
		},
	}
}

// scramKeys returns the keys of a password that is there in clear, empty where the configuration wants none.
func scramKeys(c *config.Config, password string) (string, error) {
	if !c.POP3.SCRAM {
		return "", nil
	}
	return secret.SCRAMKeys(password)
}
