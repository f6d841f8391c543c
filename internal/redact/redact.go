// Package redact takes secrets out of text that people and logs get to see.
package redact

import (
	"os"
	"regexp"
	"strings"

	pool "github.com/tunnelpool/pool"
)

// Hidden stands where a key was.
const Hidden = "(a key, not shown)"

// Keys takes keys out of a text: one that was typed where it does not belong is
// quoted as a bad argument otherwise, or is somebody's name, and ends in a log.
func Keys(text string) string {
	if len(text) >= madeKey {
		text = words.ReplaceAllStringFunc(text, hideMade)
	}
	if key := os.Getenv("TUNNEL_KEY"); len(key) >= shortestKey {
		text = strings.ReplaceAll(text, key, Hidden)
	}
	return text
}

func hideMade(word string) string {
	// What is in front of the key may be a flag's letter, as in -kKEY.
	if front := len(word) - madeKey; front >= 0 && front <= 3 {
		if _, err := pool.ParseKey(word[front:]); err == nil {
			return Hidden
		}
	}
	return word
}

var words = regexp.MustCompile(`[A-Za-z0-9_-]+`) // in a key's alphabet

const (
	madeKey     = 43 // characters of a key as we make them, 32 bytes
	shortestKey = 22 // of the shortest that is allowed, 16 bytes
)
