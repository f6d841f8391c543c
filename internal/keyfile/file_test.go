package keyfile

import (
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	pool "github.com/tunnelpool/pool"
)

var keyA, keyB = pool.NewKey(), pool.NewKey()

// withKeys puts keys in the place of A and B.
func withKeys(text string) string {
	return strings.NewReplacer("{A}", keyA.Text(), "{B}", keyB.Text()).Replace(text)
}

const everything = `# Everything that there is.
anna:
  key: {A}
  ports: 8000-8099,8443
  forward: [db.internal:5432, '*:443']
  max-streams: 100
  rate: 50Mbit
ben:
  key: "{B}"
  ports:
    - 9000
    - 9001-9009
  off: true
default:
  ports: 1024-2047
`

func TestParse(t *testing.T) {
	f, err := Parse([]byte(withKeys(everything)))
	require.NoError(t, err)
	require.Len(t, f.Entries, 3)
	anna, ben := f.Entries[0], f.Entries[1]
	require.Equal(t, "anna", anna.Name)
	require.Equal(t, keyA.Text(), anna.Key.Text())
	require.Equal(t, "8000-8099,8443", anna.Ports)
	require.True(t, anna.MayForward("db.internal", 5432))
	require.True(t, anna.MayForward("anything", 443))
	require.False(t, anna.MayForward("db.internal", 22))
	require.Equal(t, 100, anna.MaxStreams)
	require.EqualValues(t, 6_250_000, anna.Rate)
	require.Equal(t, "9000,9001-9009", ben.Ports)

	own := pool.NewKey()
	var in []string
	for _, g := range f.Grants(own) {
		require.NoError(t, g.Check())
		in = append(in, g.Name+" "+g.Key.Text()+" "+g.Ports)
	}
	require.Equal(t, []string{"default " + own.Text() + " 1024-2047", "anna " + keyA.Text() + " 8000-8099,8443"}, in, "ben's is off")
}

// TestDocumentedFile: the example of docs/KEYS.md means what it says.
func TestDocumentedFile(t *testing.T) {
	page, err := os.ReadFile("../../docs/KEYS.md")
	require.NoError(t, err)
	_, example, ok := strings.Cut(string(page), "```yaml\n")
	require.True(t, ok)
	example, _, _ = strings.Cut(example, "```")
	f, err := Parse([]byte(example))
	require.NoError(t, err)
	grants := f.Grants(keyA)
	require.Len(t, grants, 1, "the first key is off")
	require.Equal(t, "anna", grants[0].Name)
	require.Equal(t, "8000-8099,8443", grants[0].Ports)
	require.Equal(t, 100, grants[0].MaxStreams)
}

func TestParseNothing(t *testing.T) {
	for _, text := range []string{"", "\n", "# only a comment\n", "---\n", "{}", "null"} {
		f, err := Parse([]byte(text))
		require.NoError(t, err, text)
		require.Empty(t, f.Entries)
		require.Len(t, f.Grants(keyA), 1, "the tunnel's own key")
	}
	f, err := Parse([]byte("default:\n  off: true\n"))
	require.NoError(t, err)
	require.Empty(t, f.Grants(keyA))
}

func TestMalformedFiles(t *testing.T) {
	for text, want := range map[string]string{
		"anna":                                  "line 1: want names with a colon, each with the fields of its key below it",
		"- anna":                                "line 1: want names with a colon",
		"{A}":                                   "line 1: want names with a colon",
		"anna:":                                 "line 1: anna: has no key; tunnel-server key add makes one",
		"anna: {A}":                             "line 1: anna: want fields below it, each in a line and further to the right, as in key: …",
		"# x\nanna:\nkey: {A}\n":                "line 2: anna: has no key",
		"{A}:\n  ports: 80":                     "line 1: that is a key, and a name for it is wanted",
		"anna:\n  {A}: x":                       "line 2: anna: a key stands in the place of something else",
		"anna:\n  {A}:":                         "line 2: anna: a key stands in the place of something else",
		"anna:\n  key: {A}\n  off: {B}":         "line 3: anna: a key stands in the place of something else",
		"anna:\n  key: {A}\n  ports: {B}":       "line 3: anna: a key stands in the place of something else",
		"anna:\n  {A}":                          "line 2: anna: want fields below it",
		"an na:\n  key: {A}":                    `line 1: "an na" is not a key's name: want 1 to 64 letters, digits, dots, hyphens and underscores`,
		"[anna]:\n  key: {A}":                   "line 1: a key's name is wanted here",
		"anna:\n  key: c2hvcnQ":                 "line 2: anna: malformed key: it is 5 bytes long and at least 16 are needed",
		"anna:\n  key: {A}=":                    "line 2: anna: malformed key: it is padded",
		"anna:\n  key:":                         `line 2: anna: "key" has no value`,
		"anna:\n  key: {A}\n  prots: 80":        `line 3: anna: unknown field "prots"; is "ports" meant?`,
		"anna:\n  key: {A}\n  Max_Streams: 1":   `line 3: anna: unknown field "Max_Streams"; is "max-streams" meant?`,
		"anna:\n  key: {A}\n  forwards: a:1":    `is "forward" meant?`,
		"anna:\n  key: {A}\n  password: x":      `line 3: anna: unknown field "password"; there is key, ports, forward, max-streams, rate, off`,
		"anna:\n  key: {A}\n  ports: http":      `line 3: anna: ports: "http" is not a port`,
		"anna:\n  key: {A}\n  ports: {}":        `line 3: anna: "ports" wants one value, or a list of them`,
		"anna:\n  key: {A}\n  ports: [[1]]":     `line 3: anna: "ports" wants one value, or a list of them`,
		"anna:\n  key: {A}\n  forward: db":      `line 3: anna: forward: "db" is not HOST:PORT`,
		"anna:\n  key: {A}\n  max-streams: 0":   `line 3: anna: max-streams "0" is not a number from 1; leave it out for no limit`,
		"anna:\n  key: {A}\n  max-streams: ten": `line 3: anna: max-streams "ten" is not a number from 1`,
		"anna:\n  key: {A}\n  rate: 50":         `line 3: anna: rate "50" has no unit; write a number and kbit`,
		"anna:\n  key: {A}\n  off: yes":         `line 3: anna: off "yes" is neither true nor false`,
		"anna:\n  key: {A}\n  key: {B}":         `line 3: anna: "key" is there twice`,
		"anna:\n  key: {A}\nanna:\n  key: {B}":  "line 3: anna: there is one in line 1 already",
		"anna:\n  key: {A}\nben:\n  key: {A}":   "line 3: ben: has the same key as anna in line 1; each needs one of its own",
		"default:\n  key: {A}":                  "line 1: default: is the tunnel's own key, which does not stand here; give this one another name",
		"default:\n  ports: x":                  `line 2: default: ports: "x" is not a port`,
		"anna:\n\tkey: {A}":                     "line 2: a tab in front of the text; YAML wants spaces there",
		"anna:\n  key: '{A}":                    "near line 2: found unexpected end of stream",
		"anna:\n  key: {A}\n ports: 80":         "near line 2: did not find expected key",
		"anna: &x\n  key: {A}\nben: *x":         "line 3: ben: want fields below it",
		"anna:\n  key: {A}\n---\nben:\n":        "line 3: the file should end here, and there is one more document",
		"anna:\n  key: \x00":                    "line 2: a control character, or a byte that is no UTF-8",
		"anna:\n  key: \xff":                    "line 2: a control character, or a byte that is no UTF-8",
	} {
		_, err := Parse([]byte(withKeys(text)))
		require.ErrorContains(t, err, want, text)
		require.NotContains(t, err.Error(), "\n")
		require.NotContains(t, err.Error(), keyA.Text()[:12])
		require.NotContains(t, err.Error(), keyB.Text()[:12])
	}
}
