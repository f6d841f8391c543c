// Package yamldoc reads a YAML file that a person writes: one document with a
// mapping at the top. What is wrong is said with the number of its line.
package yamldoc

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// Error is what is wrong in a line.
type Error struct {
	Line int  // from 1
	Near bool // the line may also be the one before or after
	Err  error
}

func (e *Error) Error() string {
	text := fmt.Sprintf("line %d: %v", e.Line, e.Err)
	if e.Near {
		return "near " + text
	}
	return text
}

func (e *Error) Unwrap() error { return e.Err }

// Wrong is an error about a place in the file.
func Wrong(at *yaml.Node, format string, args ...any) error {
	return &Error{Line: at.Line, Err: fmt.Errorf(format, args...)}
}

// Parse returns the mapping that the file is; nil if there is nothing in it.
// content is what it should have, for errors, as in "want names with a colon";
// all of them are an [Error].
func Parse(data []byte, content string) (*yaml.Node, error) {
	if err := plain(string(data)); err != nil {
		return nil, err
	}
	var doc, next yaml.Node
	d := yaml.NewDecoder(bytes.NewReader(data))
	switch err := d.Decode(&doc); {
	case errors.Is(err, io.EOF):
		return nil, nil
	case err != nil:
		return nil, syntax(err, string(data))
	}
	if err := d.Decode(&next); !errors.Is(err, io.EOF) {
		return nil, &Error{Line: max(next.Line, 1), Err: errors.New("the file should end here, and there is one more document")}
	}
	top := doc.Content[0]
	if IsNull(top) {
		return nil, nil
	}
	if top.Kind != yaml.MappingNode {
		return nil, Wrong(top, "%s", content)
	}
	return top, nil
}

// IsNull tells that nothing stands where a value could.
func IsNull(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.Tag == "!!null" }

// plain refuses what is no text. YAML does so too, without the line.
func plain(data string) error {
	number := 0
	for line := range strings.Lines(data) {
		number++
		if !utf8.ValidString(line) || strings.ContainsFunc(line, func(r rune) bool { return unicode.IsControl(r) && !strings.ContainsRune("\t\r\n", r) }) {
			return &Error{Line: number, Err: errors.New("a control character, or a byte that is no UTF-8")}
		}
		indent := line[:len(line)-len(strings.TrimLeft(line, " \t"))]
		if rest := strings.TrimSpace(line); strings.Contains(indent, "\t") && rest != "" && rest[0] != '#' {
			return &Error{Line: number, Err: errors.New("a tab in front of the text; YAML wants spaces there")}
		}
	}
	return nil
}

// syntax is an error of the library, which counts to about where it gave up, and
// sometimes not at all.
func syntax(err error, data string) error {
	text := strings.TrimPrefix(err.Error(), "yaml: ")
	e := &Error{Line: 1, Near: true, Err: errors.New(text)}
	if found := lineNumber.FindStringSubmatch(text); found != nil {
		if n, err := strconv.Atoi(found[1]); err == nil {
			e.Line, e.Err = max(n, 1), errors.New(found[2])
		}
	}
	lines := strings.Split(data, "\n")
	for i := max(e.Line-2, 0); i < min(e.Line+1, len(lines)); i++ {
		if special.MatchString(lines[i]) {
			e.Err = fmt.Errorf("%w; a value that begins with [ or * needs quotes", e.Err)
			break
		}
	}
	return e
}

// special finds values that begin as YAML's own constructs do, such as *:22 and
// [::1]:80.
var special = regexp.MustCompile(`(?::|-)[ \t]+[\[*]`)

var lineNumber = regexp.MustCompile(`(?s)^line (\d+): (.*)$`)
