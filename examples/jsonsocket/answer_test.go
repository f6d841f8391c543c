package main

import (
	"bytes"
	"strings"
	"testing"
	"testing/iotest"
	"unicode"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
)

func TestReadAnswer(t *testing.T) {
	for text, want := range map[string]answer{
		`{"status":"success","result":{"a":[1,"}{"]}}`: {Status: "success", Result: []byte(`{"a":[1,"}{"]}`)},
		" \r\n{\"status\":\"success\"} \n":             {Status: "success"},
		`{"status":"error","message":"ä\n"}`:           {Status: "error", Message: "ä\n"},
		`{"id":7,"status":"success","result":null}`:    {Status: "success", Result: []byte("null")},
	} {
		for _, r := range []interface{ Read([]byte) (int, error) }{strings.NewReader(text), iotest.OneByteReader(strings.NewReader(text))} {
			got, err := readAnswer(r, len(text))
			require.NoError(t, err, text)
			require.Equal(t, want, got, text)
		}
		_, err := readAnswer(strings.NewReader(text), len(strings.TrimSpace(text))-1)
		require.ErrorIs(t, err, errTooLarge, "one byte less")
	}
}

func TestExcerpt(t *testing.T) {
	for text, want := range map[string]string{
		"":                             "",
		"plain":                        "plain",
		"a\x00b\x1b[2J\r\nc\u202e\x7f": "a b [2J  c",
		"\xff\xfe":                     "\ufffd\ufffd",
		strings.Repeat("ä", 200):       strings.Repeat("ä", 200),
		strings.Repeat("ä", 201):       strings.Repeat("ä", 199) + "…",
		strings.Repeat("\xff", 500):    strings.Repeat("\ufffd", 199) + "…",
	} {
		require.Equal(t, want, excerpt([]byte(text)), "%q", text)
	}
}

// FuzzReadAnswer: whatever comes is an answer of the agreed shape or an error
// that is fit for a terminal, the same however it arrives.
func FuzzReadAnswer(f *testing.F) {
	for _, seed := range []string{
		`{"status":"success","result":{"a":1}}`, `{"status":"error","message":"x"}`, `{"status":"success"}{`, `{"status":`, `[]`, "12", "\x1b[2J",
		"{\"status\":\"success\",\"x\":\"\xff\"}", `{"status":"success"} ` + "\n", `{"status":{}}`, "", strings.Repeat(`{"a":`, 100),
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		const limit = 1000
		a, err := readAnswer(bytes.NewReader(text), limit)
		if err != nil {
			var refused *AnswerError
			require.ErrorAs(t, err, &refused)
			require.LessOrEqual(t, utf8.RuneCountInString(refused.Excerpt), maxExcerpt)
			for _, r := range err.Error() {
				require.True(t, unicode.IsPrint(r), "%q", err.Error())
			}
			return
		}
		require.Contains(t, []string{"success", "error"}, a.Status)
		require.LessOrEqual(t, len(a.Result), limit)
		again, err := readAnswer(iotest.OneByteReader(bytes.NewReader(text)), limit)
		require.NoError(t, err)
		require.Equal(t, a, again)
	})
}
