// Package spelling finds the name that was probably meant by one that does not
// exist.
package spelling

import "strings"

// Nearest returns the one of known that word is a slip of, by at most slips
// letters, or "". Capitals and underscores for hyphens are none.
func Nearest(word string, known []string, slips int) string {
	if len(word) > longest { // nobody's slip, and slow
		return ""
	}
	word = strings.ToLower(strings.ReplaceAll(word, "_", "-"))
	name := ""
	for _, k := range known {
		if d := distance(word, strings.ToLower(strings.ReplaceAll(k, "_", "-"))); d <= slips {
			slips, name = d-1, k
		}
	}
	return name
}

// longest is more than any name has.
const longest = 100

// distance is how many letters have to be added, taken away, replaced or swapped
// with the next to make b of a.
func distance(a, b string) int {
	row := func() []int { return make([]int, len(b)+1) }
	before, last, now := row(), row(), row() // for the first i-1, i and i+1 letters of a
	for j := range last {
		last[j] = j
	}
	for i := range len(a) {
		now[0] = i + 1
		for j := range len(b) {
			replaced := last[j]
			if a[i] != b[j] {
				replaced++
			}
			now[j+1] = min(replaced, last[j+1]+1, now[j]+1)
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				now[j+1] = min(now[j+1], before[j-1]+1)
			}
		}
		before, last, now = last, now, before
	}
	return last[len(b)]
}
