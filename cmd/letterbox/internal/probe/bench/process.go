package bench

import (
	"fmt"
	"time"
)

// Processes is what a server's processes used: those of the given ids and all that descend from them.
type Processes struct {
	Number     int     `json:"processes"`
	CPU        float64 `json:"cpu_seconds"` // during the run, of children that ended too
	CPUPer1000 float64 `json:"cpu_seconds_per_1000"`
	RSS        int64   `json:"rss_bytes"` // at the end; pages that processes share count in each of them
	PSS        int64   `json:"pss_bytes"` // at the end; pages that processes share count once
	// PerSession is what a held session cost of PSS.
	PerSession int64 `json:"pss_bytes_per_session,omitempty"`
}

// reaping is how long processes that end with their session may take to be counted with their parent.
const reaping = 400 * time.Millisecond

// watched are processes that were looked at when a run began.
type watched struct {
	pids  []int
	start Processes
}

// watch looks at the processes before a run. With no pids it does nothing.
func watch(pids []int) (*watched, error) {
	if len(pids) == 0 {
		return &watched{}, nil
	}
	start, err := processes(pids)
	if err != nil {
		return nil, fmt.Errorf("--pids: %w", err)
	}
	return &watched{pids, start}, nil
}

// into adds what they used since to the result.
func (w *watched) into(r *Result) error {
	if len(w.pids) == 0 {
		return nil
	}
	time.Sleep(reaping)
	now, err := processes(w.pids)
	if err != nil {
		return fmt.Errorf("--pids: %w", err)
	}
	now.CPU -= w.start.CPU
	now.CPUPer1000 = rate(now.CPU*1000, float64(r.Done))
	r.Server = &now
	return nil
}

// perSession divides what memory grew by among the sessions.
func (r *Result) perSession(before *watched) {
	if r.Server != nil && r.Done > 0 {
		r.Server.PerSession = (r.Server.PSS - before.start.PSS) / r.Done
	}
}
