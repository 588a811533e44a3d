package main

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// didYouMean returns " (did you mean X?)" for the word most like the one that
// is unknown, or nothing if none is like it.
func didYouMean(word string, words []string) string {
	slices.Sort(words)
	best, least := "", 1+len(word)/3
	for _, w := range words {
		if d := distance(word, w); d <= least && (best == "" || d < least) {
			best, least = w, d
		}
	}
	if best == "" {
		return ""
	}
	return fmt.Sprintf(" (did you mean %s?)", best)
}

// distance is how many letters must be inserted, removed, replaced or swapped
// with their neighbour to make b of a.
func distance(a, b string) int {
	before, row := []int{}, make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		next := make([]int, len(b)+1)
		next[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			next[j+1] = min(next[j]+1, row[j+1]+1, row[j]+cost)
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				next[j+1] = min(next[j+1], before[j-1]+1)
			}
		}
		before, row = row, next
	}
	return row[len(b)]
}

// flagError says what is wrong with a flag, and which one may have been meant.
func flagError(cmd *cobra.Command, err error) error {
	var unknown *pflag.NotExistError
	if errors.As(err, &unknown) {
		names := optionsOf(cmd)
		names[configFlag] = true
		err = fmt.Errorf("%w%s", err, didYouMean(unknown.GetSpecifiedName(), slices.Collect(maps.Keys(names))))
	}
	return usageError{err}
}
