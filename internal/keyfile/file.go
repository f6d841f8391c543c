package keyfile

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"

	"go.yaml.in/yaml/v3"

	pool "github.com/tunnelpool/pool"
	"github.com/tunnelpool/pool/internal/spelling"
	"github.com/tunnelpool/pool/internal/units"
	"github.com/tunnelpool/pool/internal/yamldoc"
	"github.com/tunnelpool/pool/tunnel"
)

// Default is the name of the key that the first start makes. The file may hold
// rights of it, or turn it off; the key itself stands elsewhere.
const Default = "default"

// Entry is one key of the file.
type Entry struct {
	tunnel.Grant      // without a Key for Default
	Off          bool // it is not let in
	line, column int  // of its name
	fields       int  // column of its fields; 0: there is none
}

// File is what a keys.yaml says.
type File struct {
	Entries []Entry
	data    string // it was read from
}

// The fields of a key.
const (
	fieldKey        = "key"
	fieldPorts      = "ports"
	fieldForward    = "forward"
	fieldMaxStreams = "max-streams"
	fieldRate       = "rate"
	fieldOff        = "off"
)

var fields = []string{fieldKey, fieldPorts, fieldForward, fieldMaxStreams, fieldRate, fieldOff}

// Parse reads a file. Errors are one line, which begins with the number of the
// line in the file that is wrong, or nearly so; they never hold a key.
func Parse(data []byte) (File, error) {
	f := File{data: string(data)}
	top, err := yamldoc.Parse(data, "want names with a colon, each with the fields of its key below it")
	if err != nil {
		return File{}, err
	}
	if top == nil {
		return f, nil
	}
	for i := 0; i < len(top.Content); i += 2 {
		e, err := entry(top.Content[i], top.Content[i+1])
		if err != nil {
			return File{}, err
		}
		for _, other := range f.Entries {
			switch {
			case other.Name == e.Name:
				return File{}, yamldoc.Wrong(top.Content[i], "%s: there is one in line %d already", e.Name, other.line)
			case !e.Key.IsZero() && other.Key.ID() == e.Key.ID():
				return File{}, yamldoc.Wrong(top.Content[i], "%s: has the same key as %s in line %d; each needs one of its own", e.Name, other.Name, other.line)
			}
		}
		f.Entries = append(f.Entries, e)
	}
	return f, nil
}

func entry(name, value *yaml.Node) (Entry, error) {
	e := Entry{line: name.Line, column: name.Column}
	e.Name = name.Value
	if name.Kind != yaml.ScalarNode {
		return e, yamldoc.Wrong(name, "a key's name is wanted here")
	}
	if err := tunnel.CheckKeyName(e.Name); err != nil {
		return e, yamldoc.Wrong(name, "%w", err)
	}
	switch {
	case yamldoc.IsNull(value):
	case value.Kind != yaml.MappingNode:
		return e, yamldoc.Wrong(value, "%s: want fields below it, each in a line and further to the right, as in %s: …", e.Name, fieldKey)
	case len(value.Content) > 0:
		e.fields = value.Content[0].Column
	}
	seen := make(map[string]bool)
	for i := 0; i < len(value.Content); i += 2 {
		field, at := value.Content[i].Value, value.Content[i]
		switch {
		case isKey(field), field != fieldKey && isKey(value.Content[i+1].Value):
			return e, yamldoc.Wrong(at, "%s: a key stands in the place of something else", e.Name) // and is not quoted
		case seen[field]:
			return e, yamldoc.Wrong(at, "%s: %.80q is there twice", e.Name, field)
		}
		seen[field] = true
		if err := e.set(field, value.Content[i+1]); err != nil {
			return e, yamldoc.Wrong(at, "%s: %w", e.Name, err)
		}
	}
	switch {
	case e.Name == Default && !e.Key.IsZero():
		return e, yamldoc.Wrong(name, "%s: is the tunnel's own key, which does not stand here; give this one another name", Default)
	case e.Name != Default && e.Key.IsZero():
		return e, yamldoc.Wrong(name, "%s: has no %s; tunnel-server key add makes one", e.Name, fieldKey)
	}
	return e, nil
}

// isKey tells a key as we make them.
func isKey(text string) bool {
	const made = 43 // characters
	_, err := pool.ParseKey(text)
	return err == nil && len(text) >= made
}

// set reads one field. What it quotes is never the field of the key.
func (e *Entry) set(field string, value *yaml.Node) error {
	text, err := text(value)
	if err != nil {
		return fmt.Errorf("%.80q %w", field, err)
	}
	switch field {
	case fieldKey:
		e.Key, err = pool.ParseKey(text)
		return err
	case fieldPorts:
		e.Ports = text
		return checkRights(tunnel.Grant{Ports: text})
	case fieldForward:
		e.Forwards = text
		return checkRights(tunnel.Grant{Forwards: text})
	case fieldMaxStreams:
		e.MaxStreams, err = strconv.Atoi(text)
		if err != nil || e.MaxStreams < 1 {
			return fmt.Errorf("%s %.80q is not a number from 1; leave it out for no limit", field, text)
		}
	case fieldRate:
		e.Rate, err = units.ParseRate(text)
		if err != nil {
			return fmt.Errorf("%s %w", field, err)
		}
	case fieldOff:
		if text != "true" && text != "false" {
			return fmt.Errorf("%s %.80q is neither true nor false", field, text)
		}
		e.Off = text == "true"
	default:
		return fmt.Errorf("unknown field %.80q%s", field, nearest(field))
	}
	return nil
}

func checkRights(g tunnel.Grant) error {
	g.Key = someKey()
	return g.Check()
}

// someKey stands for the one that a Grant must have.
var someKey = sync.OnceValue(pool.NewKey)

// text is a value in one line; a list is joined by commas.
func text(value *yaml.Node) (string, error) {
	switch {
	case yamldoc.IsNull(value):
		return "", errors.New("has no value")
	case value.Kind == yaml.ScalarNode:
		return value.Value, nil
	case value.Kind != yaml.SequenceNode || len(value.Content) == 0:
		return "", errors.New("wants one value, or a list of them")
	}
	var parts []string
	for _, n := range value.Content {
		if n.Kind != yaml.ScalarNode || yamldoc.IsNull(n) {
			return "", errors.New("wants one value, or a list of them")
		}
		parts = append(parts, n.Value)
	}
	return strings.Join(parts, ","), nil
}

// nearest is a hint at the field that was probably meant.
func nearest(field string) string {
	name := spelling.Nearest(field, fields, 2)
	if name == "" {
		return "; there is " + strings.Join(fields, ", ")
	}
	return fmt.Sprintf("; is %q meant?", name)
}

// Same reports whether both files hold the same text.
func (f File) Same(other File) bool { return f.data == other.data }

// Find returns the entry of a name.
func (f File) Find(name string) (Entry, bool) {
	for _, e := range f.Entries {
		if e.Name == name {
			return e, true
		}
	}
	return Entry{}, false
}

// Grants are the keys that are let in: those of the file that are not off, and
// the tunnel's own unless the file turns it off.
func (f File) Grants(own pool.Key) []tunnel.Grant {
	var grants []tunnel.Grant
	if e, ok := f.Find(Default); !ok {
		grants = append(grants, tunnel.Grant{Name: Default, Key: own})
	} else if !e.Off {
		e.Key = own
		grants = append(grants, e.Grant)
	}
	for _, e := range f.Entries {
		if e.Name != Default && !e.Off {
			grants = append(grants, e.Grant)
		}
	}
	return grants
}
