package bench

import (
	"fmt"
	"time"
)

// Result is what a run measured. Its JSON only grows.
type Result struct {
	Protocol    string  `json:"protocol"`
	Mode        string  `json:"mode"`
	Target      string  `json:"target"`
	Connections int     `json:"connections"`
	Unit        string  `json:"unit"` // of what is counted: messages, maildrops, logins or sessions
	Done        int64   `json:"done"`
	Octets      int64   `json:"octets"`
	Seconds     float64 `json:"seconds"` // until the last piece was done
	Rate        float64 `json:"per_second"`
	OctetRate   float64 `json:"octets_per_second"`
	// Retrievable is how many seconds after the start all that was accepted could be retrieved; 0 where nobody looked.
	Retrievable     float64                `json:"retrievable_seconds,omitempty"`
	RetrievableRate float64                `json:"retrievable_per_second,omitempty"`
	Latency         map[string]Percentiles `json:"latency"`
	Errors          map[string]*Failure    `json:"errors"`
	CutOff          int64                  `json:"cut_off"` // under way at the end; neither done nor failed
	Check           *Check                 `json:"check,omitempty"`
	Server          *Processes             `json:"server,omitempty"`

	sum *tally
}

func (w *work) result(protocol, mode, unit string, sum *tally) *Result {
	r := &Result{
		Protocol: protocol, Mode: mode, Target: w.Server.Target, Connections: w.Connections, Unit: unit,
		Done: sum.done, Octets: sum.octets, Seconds: sum.last.Seconds(), Latency: map[string]Percentiles{},
		Errors: sum.failures, CutOff: sum.cut, sum: sum,
	}
	r.Rate, r.OctetRate = rate(float64(r.Done), r.Seconds), rate(float64(r.Octets), r.Seconds)
	for step, l := range sum.latencies {
		r.Latency[step] = l.percentiles()
	}
	return r
}

// Failed returns an error that counts what failed, or nil.
func (r *Result) Failed() error {
	n := int64(0)
	for _, f := range r.Errors {
		n += f.Count
	}
	switch {
	case n > 0:
		return fmt.Errorf("failures: %d", n)
	case r.Check != nil && r.Check.Altered+r.Check.Octets+r.Check.Twice > 0:
		return fmt.Errorf("messages that came otherwise than they went, or twice: %d", max(r.Check.Altered, r.Check.Octets)+r.Check.Twice)
	case r.Done == 0:
		return fmt.Errorf("nothing was measured: no %s", r.Unit)
	}
	return nil
}

func since(began time.Time) float64 { return time.Since(began).Seconds() }

func rate(n, seconds float64) float64 {
	if seconds <= 0 {
		return 0
	}
	return n / seconds
}
