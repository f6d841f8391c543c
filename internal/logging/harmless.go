package logging

import (
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	pool "github.com/tunnelpool/pool"
	"github.com/tunnelpool/pool/internal/redact"
)

// harmless takes out of an event what must not get into a log: keys, and what
// moves a terminal's cursor or turns its text around. Peers choose names and
// reasons; most are escaped where they are told already.
func harmless(e pool.Event) pool.Event {
	e.Text = clean(e.Text)
	e.Attrs = slices.Clone(e.Attrs)
	for i, a := range e.Attrs {
		if a.Value.Kind() == slog.KindString {
			e.Attrs[i].Value = slog.StringValue(clean(a.Value.String()))
		}
	}
	return e
}

func clean(text string) string { return printable(redact.Keys(text)) }

// printable writes what cannot be printed as Go escapes it.
func printable(text string) string {
	if utf8.ValidString(text) && strings.IndexFunc(text, unprintable) < 0 {
		return text
	}
	var b strings.Builder
	for _, r := range text { // a byte that is no UTF-8 comes as U+FFFD
		if unprintable(r) {
			quoted := strconv.QuoteRune(r)
			b.WriteString(quoted[1 : len(quoted)-1])
		} else {
			b.WriteRune(r)
		}
	}
	return b.String()
}

func unprintable(r rune) bool { return !strconv.IsPrint(r) }
