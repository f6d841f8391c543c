package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxExcerpt bounds, in characters, what an error shows of an answer.
const maxExcerpt = 200

// answer is what the server says: a result, or why there is none.
type answer struct {
	Status  string          `json:"status"` // "success" or "error"
	Result  json.RawMessage `json:"result"`
	Message string          `json:"message"`
}

// AnswerError is an answer that is none, or none in time. Nobody knows what
// else is on its way on that connection: it must not serve another request.
type AnswerError struct {
	Problem string
	Excerpt string // how the answer begins, at most 200 printable characters
	Err     error  // what reading ended with, if it did
}

func (e *AnswerError) Error() string {
	if e.Excerpt == "" {
		return e.Problem
	}
	return e.Problem + "; it begins: " + e.Excerpt
}

func (e *AnswerError) Unwrap() error { return e.Err }

// readAnswer reads one answer of at most limit bytes. It is whole when its
// JSON object is: what else was read with it, but for white space, belongs to
// no request, and is an error.
func readAnswer(r io.Reader, limit int) (answer, error) {
	in := &bounded{r: r, limit: limit}
	d := json.NewDecoder(in)
	var object json.RawMessage
	if err := d.Decode(&object); err != nil {
		return answer{}, in.refuse(problem(err), err)
	}
	if rest, _ := io.ReadAll(d.Buffered()); len(bytes.TrimSpace(rest)) > 0 {
		return answer{}, in.refuse("bytes follow the answer", nil)
	}
	if !utf8.Valid(object) { // encoding/json would replace what is not
		return answer{}, in.refuse("the answer is not UTF-8", nil)
	}
	var a answer
	if err := json.Unmarshal(object, &a); err != nil {
		return answer{}, in.refuse("the answer has another shape than agreed", err)
	}
	if a.Status != "success" && a.Status != "error" {
		return answer{}, in.refuse(`the answer's status is neither "success" nor "error"`, nil)
	}
	return a, nil
}

var (
	errTooLarge  = errors.New("the answer is too large")
	errNotObject = errors.New("the answer is no JSON object")
)

// problem says in words why no answer could be read.
func problem(err error) string {
	var syntax *json.SyntaxError
	switch {
	case errors.As(err, &syntax):
		return fmt.Sprintf("the answer is not JSON (%v)", syntax)
	case errors.Is(err, io.ErrUnexpectedEOF):
		return "the server closed the connection within its answer"
	case errors.Is(err, io.EOF):
		return "the server closed the connection without an answer"
	}
	return err.Error()
}

// bounded reads an answer for the decoder: so much of it and no more, not a
// byte beyond the first that cannot begin an object, and it keeps the beginning
// for the excerpt.
type bounded struct {
	r     io.Reader
	limit int // bytes
	read  int
	begin []byte
}

func (b *bounded) Read(p []byte) (int, error) {
	if b.read >= b.limit {
		return 0, fmt.Errorf("%w: more than %d bytes", errTooLarge, b.limit)
	}
	n, err := b.r.Read(p[:min(len(p), b.limit-b.read)])
	b.read += n
	if room := utf8.UTFMax*maxExcerpt + 1 - len(b.begin); room > 0 {
		b.begin = append(b.begin, p[:min(n, room)]...)
	}
	if first := bytes.TrimLeft(b.begin, " \t\r\n"); len(first) > 0 && first[0] != '{' {
		return 0, errNotObject // now: the end of a number or a word would never come
	}
	return n, err
}

func (b *bounded) refuse(problem string, err error) error {
	return &AnswerError{Problem: problem, Excerpt: excerpt(b.begin), Err: err}
}

// excerpt returns the beginning of what a stranger sent, fit for a log and a
// terminal: at most maxExcerpt characters, with a space for each that does not
// print.
func excerpt(text []byte) string {
	var out strings.Builder
	for n := 1; len(text) > 0; n++ {
		r, size := utf8.DecodeRune(text)
		if n == maxExcerpt && size < len(text) {
			out.WriteRune('…')
			break
		}
		if !unicode.IsPrint(r) {
			r = ' '
		}
		out.WriteRune(r)
		text = text[size:]
	}
	return strings.TrimSpace(out.String())
}
