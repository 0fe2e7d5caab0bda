package config

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

type choiceValue struct {
	at      *string
	choices []string
}

func (v choiceValue) kind() string   { return strings.Join(v.choices, ", ") }
func (v choiceValue) list() bool     { return false }
func (v choiceValue) text() []string { return []string{*v.at} }
func (v choiceValue) set(items []string, _ string) error {
	if !slices.Contains(v.choices, items[0]) {
		return fmt.Errorf("%q is none of %s", items[0], strings.Join(v.choices, ", "))
	}
	*v.at = items[0]
	return nil
}

type choicesValue struct {
	at      *[]string
	word    string // for the choices together, in the reference
	choices []string
}

func (v choicesValue) kind() string   { return v.word }
func (v choicesValue) list() bool     { return true }
func (v choicesValue) text() []string { return *v.at }
func (v choicesValue) set(items []string, _ string) error {
	*v.at = nil
	for _, item := range items {
		if !slices.Contains(v.choices, item) {
			return fmt.Errorf("%q is none of %s", item, strings.Join(v.choices, ", "))
		}
		if !slices.Contains(*v.at, item) {
			*v.at = append(*v.at, item)
		}
	}
	return nil
}

type switchValue struct{ at *bool }

func (v switchValue) kind() string   { return "true, false" }
func (v switchValue) list() bool     { return false }
func (v switchValue) text() []string { return []string{strconv.FormatBool(*v.at)} }
func (v switchValue) set(items []string, _ string) error {
	switch items[0] {
	case "true", "false":
		*v.at = items[0] == "true"
		return nil
	}
	return fmt.Errorf("%q is neither true nor false", items[0])
}
