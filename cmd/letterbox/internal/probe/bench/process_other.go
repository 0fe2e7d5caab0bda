//go:build !linux

package bench

import "errors"

func processes([]int) (Processes, error) {
	return Processes{}, errors.New("processes can be measured on Linux only")
}
