package settings

import (
	"regexp"
	"strconv"
	"strings"
)

// explained is an error in words that name where values came from.
type explained struct {
	text string
	err  error
}

func (e *explained) Error() string { return e.text }
func (e *explained) Unwrap() error { return e.err }

// Explain makes an error that speaks of flags speak of the variables, or of the
// lines of the file, that the values came from: of "--pool-min 0: want at least 1"
// it makes "client.yaml:4: pool-min 0: want at least 1". Flags that were given, or
// that nobody gave, stay flags.
func (s *Settings) Explain(err error) error {
	if s == nil || err == nil {
		return err
	}
	text := err.Error()
	var b strings.Builder
	at := 0 // in the file: the line of what is named first
	end := 0
	for _, m := range mentions.FindAllStringIndex(text, -1) {
		name := s.flagIn(text, m[0], m[1])
		if name == "" {
			continue
		}
		b.WriteString(text[end:m[0]])
		end = m[1]
		if s.variables.Exists(name) {
			b.WriteString(Variable(name))
			continue
		}
		b.WriteString(name)
		if at == 0 {
			at = s.file.lineOf(name, text[end:])
		}
	}
	if end == 0 {
		return err
	}
	b.WriteString(text[end:])
	if at > 0 {
		return &explained{place(s.file.path, at) + ": " + b.String(), err}
	}
	return &explained{b.String(), err}
}

// mentions finds flags in an error, and what is quoted, in which there are none.
var mentions = regexp.MustCompile(`"(?:[^"\\]|\\.)*"|--?[a-zA-Z][a-zA-Z0-9-]*`)

// flagIn is the flag that a mention is of, if its value is from elsewhere.
func (s *Settings) flagIn(text string, from, to int) string {
	if text[from] == '"' || from > 0 && !strings.ContainsRune(" (,", rune(text[from-1])) {
		return ""
	}
	name, long := strings.CutPrefix(text[from:to], "--")
	if !long {
		name = name[1:]
		f := (*s.flags).ShorthandLookup(name[:1])
		if len(name) != 1 || f == nil {
			return ""
		}
		name = f.Name
	}
	if !s.elsewhere(name) {
		return ""
	}
	return name
}

// lineOf is the line of the value that an error quotes behind the flag's name, or
// else of the setting.
func (f *file) lineOf(name, rest string) int {
	e := f.entries[name]
	if quote, err := strconv.QuotedPrefix(strings.TrimLeft(rest, " ")); err == nil {
		said, _ := strconv.Unquote(quote)
		for _, v := range e.values {
			_, value, _ := strings.Cut(v.text, "=")
			if said == v.text || said == value {
				return v.line
			}
		}
	}
	return e.line
}
