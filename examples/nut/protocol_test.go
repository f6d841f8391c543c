package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestParse(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		line string
		want []string // nil: malformed
	}{
		{`OK`, []string{"OK"}},
		{`VAR one ups.status "OL CHRG"`, []string{"VAR", "one", "ups.status", "OL CHRG"}},
		{`VAR one ups.id ""`, []string{"VAR", "one", "ups.id", ""}},
		{`UPS one "A \"good\" \\ one"`, []string{"UPS", "one", `A "good" \ one`}},
		{`VAR one ups.mfr "Müller"`, []string{"VAR", "one", "ups.mfr", "Müller"}},
		{``, nil},
		{` OK`, nil},
		{`OK `, nil},
		{`VAR  one`, nil},
		{`VAR one "no end`, nil},
		{`VAR one "no end\"`, nil},
		{`VAR one "no end\`, nil},
		{`VAR one "x\n"`, nil},
		{`VAR one "x"y`, nil},
		{`VAR one x"y"`, nil},
		{"VAR one \"\x1b[2J\"", nil},
		{"VAR one x\r", nil},
	} {
		words, err := parse(c.line)
		if c.want == nil {
			require.Error(t, err, "%q became %q", c.line, words)
			continue
		}
		require.NoError(t, err, c.line)
		require.Equal(t, c.want, words)
	}
}

// scripted answers each line that is asked of it as answer says, where "" closes
// the connection. It returns its address.
func scripted(t *testing.T, answer func(asked string) string) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	var serving sync.WaitGroup
	t.Cleanup(serving.Wait)
	t.Cleanup(func() { l.Close() })
	serving.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			serving.Go(func() {
				defer conn.Close()
				for asked := bufio.NewScanner(conn); asked.Scan(); {
					text := answer(asked.Text())
					if text == "" {
						return
					}
					_, _ = io.WriteString(conn, text)
				}
			})
		}
	})
	return l.Addr().String()
}

// TestBrokenAnswers holds that a connection on which an answer was cut, too long,
// malformed or another's is never used again, and that the next question is answered.
func TestBrokenAnswers(t *testing.T) {
	t.Parallel()
	const good = "VAR one ups.status \"OL\"\n"
	for name, broken := range map[string]string{
		"closed":           "",
		"another variable": "VAR one ups.load \"OL\"\n",
		"another UPS":      "VAR two ups.status \"OL\"\n",
		"no value":         "VAR one ups.status\n",
		"two values":       "VAR one ups.status \"OL\" \"OL\"\n",
		"no end":           "VAR one ups.status \"OL\n",
		"a list":           "BEGIN LIST VAR one\n",
		"more than asked":  good + good,
		"refused twice":    "ERR UNKNOWN-UPS\nERR UNKNOWN-UPS\n",
		"an endless line":  strings.Repeat("x", 1<<20),
		"not a word":       "\x00\x00\x00\n",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var mu sync.Mutex
			asked := 0
			address := scripted(t, func(line string) string {
				mu.Lock()
				defer mu.Unlock()
				switch {
				case line == `"NETVER"`:
					return "1.3\n"
				case line == `"LOGOUT"`:
					return "OK Goodbye\n"
				}
				if asked++; asked == 1 {
					return broken
				}
				return good
			})
			c, err := newClient(config{server: address, connections: 1})
			require.NoError(t, err)
			defer c.Close()
			_, err = c.Var(t.Context(), "one", "ups.status")
			require.Error(t, err)
			require.Less(t, len(err.Error()), 300)
			require.NotContains(t, err.Error(), "\n")
			got, err := c.Var(t.Context(), "one", "ups.status")
			require.NoError(t, err)
			require.Equal(t, "OL", got)
			require.Equal(t, uint64(2), c.pool.Stats().Created)
		})
	}
}

// TestBrokenLists is the same for lists.
func TestBrokenLists(t *testing.T) {
	t.Parallel()
	const begin, row, end = "BEGIN LIST VAR one\n", "VAR one ups.status \"OL\"\n", "END LIST VAR one\n"
	for name, broken := range map[string]string{
		"closed":       begin + row,
		"no beginning": row + end,
		"endless":      begin + strings.Repeat(row, maxList+1),
		"another's":    begin + "VAR two ups.status \"OL\"\n" + end,
		"short row":    begin + "VAR one\n" + end,
		"long row":     begin + "VAR one ups.status \"OL\" x\n" + end,
		"began twice":  begin + begin + end,
		"more":         begin + row + end + row,
	} {
		conn := answering(broken)
		rows, err := newSession(conn).list("VAR", "one")
		for _, r := range rows {
			if err == nil && len(r) != 2 {
				err = fmt.Errorf("%d words", len(r))
			}
		}
		require.Error(t, err, name)
	}
	rows, err := newSession(answering(begin+row+row+end)).list("VAR", "one")
	require.NoError(t, err)
	require.Equal(t, [][]string{{"ups.status", "OL"}, {"ups.status", "OL"}}, rows)
}

// answering is a connection on which text comes and then the end.
func answering(text string) *paper { return &paper{text: strings.NewReader(text)} }

// paper is a connection to nobody: what is written is kept.
type paper struct {
	net.Conn
	text    io.Reader
	written strings.Builder
}

func (p *paper) Read(b []byte) (int, error)  { return p.text.Read(b) }
func (p *paper) Write(b []byte) (int, error) { return p.written.Write(b) }

// FuzzAnswer holds that whatever a server sends is an answer of bounded size
// that says what was asked for, or an error of bounded size.
func FuzzAnswer(f *testing.F) {
	for _, seed := range []string{
		"VAR one ups.status \"OL\"\n", "ERR UNKNOWN-UPS\n", "OK\n", "1.3\n", "NUMLOGINS one 3\n",
		"BEGIN LIST VAR one\nVAR one ups.status \"O\\\"L\"\nEND LIST VAR one\n",
		"BEGIN LIST VAR one\nEND LIST VAR one\nx", "\n", " \n", "\"", "\"\\", strings.Repeat("x", maxLine) + "\n",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, sent string) {
		check := func(err error) {
			if err != nil && (len(err.Error()) > 5*maxLine || strings.ContainsFunc(err.Error(), isControl)) {
				t.Errorf("an error of %d bytes: %q", len(err.Error()), err)
			}
		}
		value, err := newSession(answering(sent)).get("VAR", "one", "ups.status")
		check(err)
		if err == nil && (!strings.HasPrefix(sent, "VAR ") && !strings.HasPrefix(sent, `"VAR"`) || strings.ContainsFunc(value, isControl)) {
			t.Errorf("%q became the value %q", sent, value)
		}
		_, err = newSession(answering(sent)).logins("one")
		check(err)
		rows, err := newSession(answering(sent)).list("VAR", "one")
		check(err)
		if err == nil && strings.Count(sent, "\n") < len(rows)+2 {
			t.Errorf("%d rows of %q", len(rows), sent)
		}
	})
}

// FuzzWords holds that whatever is asked for is one line of the same words to
// who reads it.
func FuzzWords(f *testing.F) {
	f.Add("VAR", `a "quoted" \ word`)
	f.Add("", " ")
	f.Fuzz(func(t *testing.T, first, second string) {
		p := answering("")
		s := newSession(p)
		if s.send([]string{first, second}) != nil {
			require.True(t, strings.ContainsFunc(first+second, isControl))
			require.Empty(t, p.written.String())
			return
		}
		line, ended := strings.CutSuffix(p.written.String(), "\n")
		require.True(t, ended)
		words, err := parse(line)
		require.NoError(t, err)
		require.Equal(t, []string{first, second}, words)
	})
}
