package main

import (
	"bufio"
	"cmp"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
)

// What upsd may send us. Its own lines end at 512 bytes, and a large UPS has a
// few hundred variables.
const (
	maxLine = 1024
	maxList = 4096
)

// refusal says that what was asked was not done, and that the connection is as
// good as before: upsd answered ERR, or the question was never sent.
type refusal struct{ text string }

func (e *refusal) Error() string { return e.text }

func refusedWith(code string) *refusal {
	return &refusal{cmp.Or(refusals[code], "upsd answers ERR "+excerpt([]string{code}))}
}

var refusals = map[string]string{
	"ACCESS-DENIED":        "upsd denies it: wrong user or password, or the user may not do that",
	"DATA-STALE":           "upsd hears nothing from the UPS: is it plugged in?",
	"DRIVER-NOT-CONNECTED": "the UPS's driver does not run",
	"UNKNOWN-UPS":          "upsd knows no UPS of that name",
	"USERNAME-REQUIRED":    "upsd wants a user name and a password for that: --user, --password-file",
	"PASSWORD-REQUIRED":    "upsd wants a password for that: --password-file",
	"VAR-NOT-SUPPORTED":    "the UPS has no such variable",
}

// session speaks the protocol of Network UPS Tools (RFC 9271) on a connection:
// a line is asked, and a line or a list of them is answered.
type session struct {
	conn net.Conn
	r    *bufio.Reader
}

func newSession(conn net.Conn) *session {
	return &session{conn, bufio.NewReaderSize(conn, maxLine)}
}

// get asks for what words name, and returns its value.
func (s *session) get(words ...string) (string, error) {
	answer, err := s.ask(append([]string{"GET"}, words...)...)
	if err != nil {
		return "", err
	}
	value := len(words) // the answer says once more what was asked for
	if len(answer) != value+1 || !slices.Equal(answer[:value], words) {
		return "", fmt.Errorf("upsd answered GET with %s", excerpt(answer))
	}
	return answer[value], nil
}

// do has upsd do something. Errors do not show the words, one of which may be a
// password.
func (s *session) do(words ...string) error {
	answer, err := s.ask(words...)
	if err == nil && answer[0] != "OK" {
		err = fmt.Errorf("upsd answered %s with %s", words[0], excerpt(answer))
	}
	return err
}

// ask sends a command and returns its answer of one line.
func (s *session) ask(words ...string) ([]string, error) {
	if err := s.send(words); err != nil {
		return nil, err
	}
	answer, err := s.line()
	if err != nil {
		return nil, err
	}
	return answer, s.over()
}

// list asks for a list of what words name and returns its rows, without those
// words at the start of each.
func (s *session) list(words ...string) (rows [][]string, err error) {
	if err := s.send(append([]string{"LIST"}, words...)); err != nil {
		return nil, err
	}
	begin := append([]string{"BEGIN", "LIST"}, words...)
	end := append([]string{"END", "LIST"}, words...)
	for n := range maxList + 2 {
		row, err := s.line()
		switch {
		case err != nil:
			return nil, err
		case n == 0 && slices.Equal(row, begin):
		case n > 0 && slices.Equal(row, end):
			return rows, s.over()
		case n > 0 && len(row) > len(words) && slices.Equal(row[:len(words)], words):
			rows = append(rows, row[len(words):])
		default:
			return nil, fmt.Errorf("upsd answered LIST with %s", excerpt(row))
		}
	}
	return nil, fmt.Errorf("upsd's list has no end after %d rows", maxList)
}

// send writes a command, every word in quotes. A line's end in a word would make
// its rest the next command, and is refused.
func (s *session) send(words []string) error {
	var line strings.Builder
	for i, word := range words {
		if strings.ContainsFunc(word, isControl) {
			return &refusal{"a name or password with a control character cannot be sent"}
		}
		if i > 0 {
			line.WriteByte(' ')
		}
		line.WriteString(quote(word))
	}
	line.WriteByte('\n')
	_, err := s.conn.Write([]byte(line.String()))
	return err
}

// line reads one line of an answer; one that begins with ERR is a refusal.
func (s *session) line() ([]string, error) {
	raw, err := s.r.ReadSlice('\n')
	if err == bufio.ErrBufferFull {
		return nil, fmt.Errorf("upsd sent a line of more than %d bytes: %s", maxLine, excerpt([]string{string(raw)}))
	}
	if err != nil {
		return nil, fmt.Errorf("upsd's answer is cut: %w", err)
	}
	words, err := parse(string(raw[:len(raw)-1]))
	if err == nil && words[0] == "ERR" && len(words) > 1 {
		err = refusedWith(words[1])
		if late := s.over(); late != nil {
			err = late
		}
	}
	return words, err
}

// over tells that the answer is at its end: what follows it was not asked for,
// and would pass for the answer to the next question.
func (s *session) over() error {
	if n := s.r.Buffered(); n > 0 {
		return fmt.Errorf("upsd sent %d bytes more than the answer", n)
	}
	return nil
}

// parse splits a line into its words, of which there is at least one. A word in
// quotes may have spaces, and a backslash before a quote or a backslash.
func parse(line string) ([]string, error) {
	malformed := func() ([]string, error) {
		return nil, fmt.Errorf("upsd sent a malformed line: %s", excerpt([]string{line}))
	}
	if strings.ContainsFunc(line, isControl) {
		return malformed()
	}
	var words []string
	for rest := line; ; {
		word, after, ok := cutWord(rest)
		if !ok {
			return malformed()
		}
		words = append(words, word)
		if after == "" {
			return words, nil
		}
		if after[0] != ' ' {
			return malformed()
		}
		rest = after[1:]
	}
}

// cutWord takes the first word off a line.
func cutWord(line string) (word, after string, ok bool) {
	if !strings.HasPrefix(line, `"`) {
		end := strings.IndexByte(line+" ", ' ')
		word = line[:end]
		return word, line[end:], word != "" && !strings.ContainsAny(word, `"\`)
	}
	var unquoted []byte
	for i := 1; i < len(line); i++ {
		switch line[i] {
		case '"':
			return string(unquoted), line[i+1:], true
		case '\\':
			if i++; i == len(line) || line[i] != '"' && line[i] != '\\' {
				return "", "", false
			}
		}
		unquoted = append(unquoted, line[i])
	}
	return "", "", false // the quote does not end
}

var escape = strings.NewReplacer(`\`, `\\`, `"`, `\"`)

func quote(word string) string { return `"` + escape.Replace(word) + `"` }

func isControl(r rune) bool { return r < ' ' || r == 0x7f }

// excerpt shows at most 80 characters of what upsd sent.
func excerpt(words []string) string {
	return strconv.QuoteToASCII(fmt.Sprintf("%.80s", strings.Join(words, " ")))
}

// printable is text that a terminal takes for nothing but text.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		if !strconv.IsPrint(r) {
			return '\uFFFD'
		}
		return r
	}, text)
}
