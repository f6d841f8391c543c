package keyfile

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"

	pool "github.com/tunnelpool/pool"
	"github.com/tunnelpool/pool/internal/units"
)

// header is what a file begins with that a command makes.
const header = `# The keys of this tunnel-server's clients, beside the one that its first start
# made. The server follows changes of this file at once. A key may have, all but
# the first optional:
#
#   NAME:
#     key: …                         # tunnel-server key add makes one
#     ports: 8000-8099,8443          # public ports that it may publish
#     forward: db:5432,10.0.0.7:*    # what it may reach through the server
#     max-streams: 100               # users at the same time
#     rate: 50Mbit                   # per second and direction
#     off: true                      # not let in

`

var errForm = errors.New("the file has a form that commands do not change; please edit it by hand")

// add returns data with e behind all others. All else stays as it is.
func add(data []byte, e Entry) ([]byte, error) {
	f, err := Parse(data)
	if err != nil {
		return nil, err
	}
	if other, ok := f.Find(e.Name); ok {
		return nil, fmt.Errorf("there is a key %q already, in line %d; to renew it, add one of another name, give that to the client, and revoke this", e.Name, other.line)
	}
	var b strings.Builder
	b.Write(data)
	if len(data) == 0 {
		b.WriteString(header)
	} else if !strings.HasSuffix(b.String(), "\n") {
		b.WriteByte('\n')
	}
	indent := ""
	if len(f.Entries) > 0 {
		indent = strings.Repeat(" ", f.Entries[0].column-1)
	}
	fmt.Fprintf(&b, "%s%s:\n", indent, e.Name)
	field := func(name, value string) {
		if value != "" {
			fmt.Fprintf(&b, "%s  %s: %s\n", indent, name, value)
		}
	}
	field(fieldKey, e.Key.Text())
	field(fieldPorts, quote(e.Ports))
	field(fieldForward, quote(e.Forwards))
	if e.MaxStreams > 0 {
		field(fieldMaxStreams, strconv.Itoa(e.MaxStreams))
	}
	if e.Rate > 0 {
		field(fieldRate, units.FormatRate(e.Rate))
	}
	if e.Off {
		field(fieldOff, "true")
	}
	return checked(b.String(), append(f.Entries, e))
}

// quote makes a value that YAML might read as something else one text.
func quote(value string) string {
	if strings.ContainsAny(value, "*[]: ") {
		return "'" + strings.ReplaceAll(value, "'", "''") + "'"
	}
	return value
}

// remove returns data without the entry of a name, and without the comment
// right above it.
func remove(data []byte, name string) ([]byte, error) {
	f, err := Parse(data)
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(f.Entries, func(e Entry) bool { return e.Name == name })
	lines := strings.SplitAfter(string(data), "\n")
	from, to := above(lines, f.Entries[i].line), len(lines)
	if i+1 < len(f.Entries) {
		to = above(lines, f.Entries[i+1].line)
	}
	if from > to { // several in a line
		return nil, errForm
	}
	return checked(strings.Join(slices.Delete(lines, from, to), ""), slices.Delete(slices.Clone(f.Entries), i, i+1))
}

// above is the index of the first line that belongs to the entry at a line: of
// the comment right above it, else its own.
func above(lines []string, line int) int {
	i := line - 1
	for i > 0 && strings.HasPrefix(strings.TrimSpace(lines[i-1]), "#") {
		i--
	}
	return i
}

// turnOff returns data with the default key off.
func turnOff(data []byte) ([]byte, error) {
	f, err := Parse(data)
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(f.Entries, func(e Entry) bool { return e.Name == Default })
	if i < 0 {
		e := Entry{Off: true}
		e.Name = Default
		return add(data, e)
	}
	want := slices.Clone(f.Entries)
	e := &want[i]
	e.Off = true
	indent := e.column + 1
	if e.fields > 0 {
		indent = e.fields - 1
	}
	lines := strings.SplitAfter(string(data), "\n")
	if last := lines[e.line-1]; !strings.HasSuffix(last, "\n") {
		lines[e.line-1] = last + "\n"
	}
	off := strings.Repeat(" ", indent) + fieldOff + ": true\n"
	return checked(strings.Join(slices.Insert(lines, e.line, off), ""), want)
}

// checked returns the text if it says what it should.
func checked(text string, want []Entry) ([]byte, error) {
	f, err := Parse([]byte(text))
	if err != nil || len(f.Entries) != len(want) {
		return nil, errForm
	}
	for i, e := range f.Entries {
		if !same(e, want[i]) {
			return nil, errForm
		}
	}
	return []byte(text), nil
}

// same reports whether two entries say the same, wherever they stand.
func same(a, b Entry) bool {
	bare := func(e Entry) Entry {
		e.Key, e.line, e.column, e.fields = pool.Key{}, 0, 0, 0
		return e
	}
	return a.Key.Text() == b.Key.Text() && reflect.DeepEqual(bare(a), bare(b))
}
