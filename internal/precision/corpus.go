package main

import (
	"bufio"
	"fmt"
	"hash/fnv"
	"os"
	"path/filepath"
	"strings"

	"ttp-worker/attack"
	"ttp-worker/ttp"
)

// sample is a text and what is known of it.
type sample struct {
	text  string
	group string // what it is judged with: its test, its session
	want  string // a technique, a tactic, a sort of attack; "" if nothing is to be found
	name  string // of the group, for people
}

// corpora are all the texts, by what they are.
type corpora struct {
	tests      []sample // command lines; want is the technique of the test
	statements []sample // one simple command each; want is a tactic's name
	shells     []sample // reverse shells
	ordinary   []sample // command lines of people at work
	params     []sample // values of HTTP parameters; want is the sort of attack
}

// The labels that name no tactic, and what ordinary parameters are called.
const (
	harmless = "Harmless"
	other    = "Other"
	ordinary = "norm"
)

func readCorpora(dir, half string) (*corpora, error) {
	var c corpora
	for _, file := range []struct {
		name string
		into *[]sample
		read func(line string) (sample, error)
	}{
		{"commands/atomic-linux.jsonl", &c.tests, readTest},
		{"labelled/haas-statements.jsonl", &c.statements, readStatement},
		{"commands/revshells.txt", &c.shells, readLine},
		{"benign/nl2bash.txt", &c.ordinary, readLine},
		{"web/httpparams.jsonl", &c.params, readParam},
	} {
		samples, err := readFile(filepath.Join(dir, file.name), half, file.read)
		if err != nil {
			return nil, err
		}
		*file.into = samples
	}
	return &c, nil
}

// maxLine is the longest line of a data file, in bytes.
const maxLine = 1 << 20

func readFile(name, half string, read func(string) (sample, error)) ([]sample, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, fmt.Errorf("read labelled data: %w", err)
	}
	defer func() { _ = f.Close() }()
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, maxLine)
	var samples []sample
	for n := 1; lines.Scan(); n++ {
		if strings.TrimSpace(lines.Text()) == "" {
			continue
		}
		s, err := read(lines.Text())
		if err != nil {
			return nil, fmt.Errorf("read %s, line %d: %w", name, n, err)
		}
		if half == "" || half == halfOf(s.group) {
			samples = append(samples, s)
		}
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	return samples, nil
}

// halfOf says which half a group belongs to, by its name alone.
func halfOf(group string) string {
	h := fnv.New32a()
	_, _ = h.Write([]byte(group))
	return string("ab"[h.Sum32()>>16&1])
}

func readLine(line string) (sample, error) { return sample{text: line, group: line}, nil }

func readTest(line string) (sample, error) {
	o, err := ttp.ParseObject(line)
	if err != nil {
		return sample{}, err
	}
	want := o.Text("technique")
	if successor := attack.Successor(want); successor != "" {
		want = successor
	}
	return sample{o.Text("command"), o.Text("test_guid"), want, o.Text("test_name")}, nil
}

func readStatement(line string) (sample, error) {
	o, err := ttp.ParseObject(line)
	return sample{text: o.Text("statement"), group: o.Text("session_id"), want: o.Text("tactic")}, err
}

func readParam(line string) (sample, error) {
	o, err := ttp.ParseObject(line)
	text := o.Text("payload")
	return sample{text: text, group: text, want: o.Text("attack_type")}, err
}

// grouped returns the samples of each group, in order of appearance.
func grouped(samples []sample) [][]sample {
	index := make(map[string]int)
	var groups [][]sample
	for _, s := range samples {
		i, known := index[s.group]
		if !known {
			i = len(groups)
			index[s.group] = i
			groups = append(groups, nil)
		}
		groups[i] = append(groups[i], s)
	}
	return groups
}

// tacticsOf returns the ids of the technique's tactics.
func tacticsOf(technique string) []string {
	t, _ := attack.Lookup(technique)
	var ids []string
	for _, name := range t.Tactics {
		if tactic, ok := attack.LookupTactic(name); ok {
			ids = append(ids, tactic.ID)
		}
	}
	return ids
}
