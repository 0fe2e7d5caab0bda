package bench

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
)

// ticks is how many units of CPU time of /proc a second has: fixed for user space on Linux.
const ticks = 100

// processes sums over the trees below pids.
func processes(pids []int) (Processes, error) {
	folder, err := os.ReadDir("/proc")
	if err != nil {
		return Processes{}, err
	}
	children, cpu := map[int][]int{}, map[int]float64{}
	for _, entry := range folder {
		if pid, err := strconv.Atoi(entry.Name()); err == nil {
			if parent, seconds, ok := status(pid); ok { // else it has ended since
				children[parent] = append(children[parent], pid)
				cpu[pid] = seconds
			}
		}
	}
	var sum Processes
	seen := map[int]bool{}
	for _, pid := range pids {
		if _, ok := cpu[pid]; !ok {
			return Processes{}, fmt.Errorf("there is no process %d", pid)
		}
		sum.add(pid, children, cpu, seen)
	}
	return sum, nil
}

func (p *Processes) add(pid int, children map[int][]int, cpu map[int]float64, seen map[int]bool) {
	if seen[pid] {
		return
	}
	seen[pid] = true
	p.Number++
	p.CPU += cpu[pid]
	rss, pss := memory(pid)
	p.RSS += rss
	p.PSS += pss
	for _, child := range children[pid] {
		p.add(child, children, cpu, seen)
	}
}

// status reads a process's parent, and the CPU time of it and of its children that it waited for.
func status(pid int) (parent int, seconds float64, ok bool) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, 0, false
	}
	fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:])) // from field 3 on; the name may hold anything
	if len(fields) < 15 {
		return 0, 0, false
	}
	parent, err = strconv.Atoi(fields[1])
	for _, field := range fields[11:15] { // utime, stime, cutime, cstime
		n, _ := strconv.ParseFloat(field, 64)
		seconds += n / ticks
	}
	return parent, seconds, err == nil
}

// memory reads what a process has in memory, in octets; 0 where it has ended or may not be looked at.
func memory(pid int) (rss, pss int64) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
	if err != nil {
		return 0, 0
	}
	for line := range strings.Lines(string(text)) {
		var n int64
		if _, err := fmt.Sscanf(line, "Rss: %d kB", &n); err == nil {
			rss = n << 10
		} else if _, err := fmt.Sscanf(line, "Pss: %d kB", &n); err == nil {
			pss = n << 10
		}
	}
	return rss, pss
}
