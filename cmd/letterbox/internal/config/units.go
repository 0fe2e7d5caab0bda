package config

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// sizeUnits are the units of a size from the largest to the smallest, binary before decimal.
func sizeUnits() []struct {
	name string
	n    int64
} {
	return []struct {
		name string
		n    int64
	}{
		{"TiB", 1 << 40}, {"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10},
		{"TB", 1e12}, {"GB", 1e9}, {"MB", 1e6}, {"kB", 1e3}, {"B", 1},
	}
}

// ParseSize reads a size in octets: a whole number, alone or with one of the units B, KiB, MiB, GiB, TiB (powers of 1024)
// and kB, MB, GB, TB (powers of 1000), in any case.
func ParseSize(s string) (int64, error) {
	digits, unit := strings.TrimSpace(s), int64(1)
	for _, u := range sizeUnits() {
		if n := len(digits) - len(u.name); n > 0 && strings.EqualFold(digits[n:], u.name) {
			digits, unit = strings.TrimSpace(digits[:n]), u.n
			break
		}
	}
	n, err := strconv.ParseUint(digits, 10, 63)
	if err != nil || int64(n) > math.MaxInt64/unit {
		return 0, fmt.Errorf("%q is no size: write it as 50MiB", s)
	}
	return int64(n) * unit, nil
}

// FormatSize prints n octets in the largest binary unit that gives a whole number, as ParseSize reads it.
func FormatSize(n int64) string {
	for _, u := range sizeUnits()[:4] {
		if n != 0 && n%u.n == 0 {
			return strconv.FormatInt(n/u.n, 10) + u.name
		}
	}
	return strconv.FormatInt(n, 10) + "B"
}

const day = 24 * time.Hour

// ParseDuration reads a duration as time.ParseDuration does, with days in front: 90s, 10m, 7d, 1d12h. It is never negative.
func ParseDuration(s string) (time.Duration, error) {
	wrong := fmt.Errorf("%q is no duration: write it as 30s, 10m, 12h or 7d", s)
	rest, days := s, time.Duration(0)
	if before, after, ok := strings.Cut(s, "d"); ok {
		n, err := strconv.ParseUint(before, 10, 16)
		if err != nil {
			return 0, wrong
		}
		rest, days = after, time.Duration(n)*day
		if rest == "" {
			return days, nil
		}
	}
	d, err := time.ParseDuration(rest)
	if err != nil || d < 0 || d > math.MaxInt64-days || strings.ContainsAny(rest, "+-") {
		return 0, wrong
	}
	return days + d, nil
}

// FormatDuration prints d without the parts that are zero, as ParseDuration reads it.
func FormatDuration(d time.Duration) string {
	if d >= day {
		text := strconv.Itoa(int(d/day)) + "d"
		if d%day != 0 {
			text += FormatDuration(d % day)
		}
		return text
	}
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}
