package wire

import (
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// MaxText is the most bytes that a string on the wire can have.
const MaxText = 255

// checkText holds for every string on the wire. Control characters are refused
// because these strings end up in logs and on terminals.
func checkText(b []byte) error {
	if !utf8.Valid(b) {
		return errors.New("not valid UTF-8")
	}
	for at, r := range string(b) { // the compiler makes no copy for this
		if unicode.IsControl(r) {
			return fmt.Errorf("control character %U at byte %d", r, at)
		}
	}
	return nil
}

// fit makes any string one that checkText accepts in at most limit bytes.
// Control characters become spaces, so that a reason of several lines stays
// readable, and the cut never splits a character.
func fit(s string, limit int) string {
	s = strings.ToValidUTF8(s, string(utf8.RuneError))
	s = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, s)
	if len(s) <= limit {
		return s
	}
	for limit > 0 && !utf8.RuneStart(s[limit]) {
		limit--
	}
	return s[:limit]
}

func appendText(b []byte, s string, limit int) []byte {
	s = fit(s, limit)
	return append(append(b, byte(len(s))), s...)
}
