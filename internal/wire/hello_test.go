package wire

import (
	"bytes"
	"errors"
	"strings"
	"testing"
)

// goldenJoin is the hello of the example in docs/PROTOCOL.md.
const goldenJoin = "00 01 02 03 04 05 06 07 08 09 0a 0b 0c 0d 0e 0f " +
	"10 11 12 13 14 15 16 17 18 19 1a 1b 1c 1d 1e 1f " +
	"00 00 00 2a 00 00 02 00 00 00 07 d0 06 6c 61 70 74 6f 70"

var goldenJoinValue = Join{
	Identity:   [16]byte(counting(0, 16)),
	Instance:   [16]byte(counting(16, 16)),
	LastStream: 42,
	PoolMax:    512,
	MaxStreams: 2000,
	Name:       "laptop",
}

func TestJoinGolden(t *testing.T) {
	want := unhex(t, goldenJoin)
	if got := AppendJoin([]byte{0xaa}, goldenJoinValue); !bytes.Equal(got, append([]byte{0xaa}, want...)) {
		t.Errorf("appended % x, want aa % x", got, want)
	}
	if got, err := ParseJoin(want); err != nil || got != goldenJoinValue {
		t.Errorf("parsed as %+v, %v, want %+v", got, err, goldenJoinValue)
	}
}

// The proof of the key carries at most 255 bytes of hello.
func TestLongestJoin(t *testing.T) {
	j := Join{LastStream: 1<<32 - 1, PoolMax: MaxPool, MaxStreams: 1<<32 - 1, Name: strings.Repeat("n", MaxName)}
	b := AppendJoin(nil, j)
	if len(b) != 109 {
		t.Errorf("%d bytes, documented are 109", len(b))
	}
	if got, err := ParseJoin(b); err != nil || got != j {
		t.Errorf("parsed as %+v, %v", got, err)
	}
}

func TestAppendJoinMakesNamesFit(t *testing.T) {
	for name, want := range map[string]string{
		strings.Repeat("x", 70):              strings.Repeat("x", 64),
		strings.Repeat("x", 63) + "é":        strings.Repeat("x", 63), // é has two bytes
		"tab\there":                          "tab here",
		"\x1b[31mred":                        " [31mred",
		"bad\xff":                            "bad\uFFFD",
		"name\u0085" + "with a C1 character": "name with a C1 character",
	} {
		j, err := ParseJoin(AppendJoin(nil, Join{Name: name}))
		if err != nil || j.Name != want {
			t.Errorf("%q arrived as %q, %v, want %q", name, j.Name, err, want)
		}
	}
}

func TestParseJoinMalformed(t *testing.T) {
	good := unhex(t, goldenJoin)
	for n := range good {
		if j, err := ParseJoin(good[:n]); !errors.Is(err, ErrMalformed) || j != (Join{}) {
			t.Errorf("%d bytes of it: %+v, %v", n, j, err)
		}
	}
	named := func(name string) []byte {
		return append(append(bytes.Clone(good[:44]), byte(len(name))), name...)
	}
	for what, b := range map[string][]byte{
		"a trailing byte":     append(bytes.Clone(good), 0),
		"a pool too large":    append(append(bytes.Clone(good[:36]), 0, 0x10, 0, 1), good[40:]...),
		"no name":             named(""),
		"a name of 65 bytes":  named(strings.Repeat("n", 65)),
		"a name with newline": named("two\nlines"),
		"a name with DEL":     named("del\x7f"),
		"a name in Latin-1":   named("caf\xe9"),
	} {
		_, err := ParseJoin(b)
		if !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %v", what, err)
			continue
		}
		checkMalformed(t, err)
	}
}

func TestCheckName(t *testing.T) {
	for name, ok := range map[string]bool{
		"laptop": true, "büro 2": true, "日本": true, strings.Repeat("n", 64): true,
		"": false, strings.Repeat("n", 65): false, "a\x00b": false, "\xff": false, "a\u009bb": false,
	} {
		if err := CheckName(name); (err == nil) != ok {
			t.Errorf("CheckName(%q) = %v", name, err)
		}
	}
}

func TestParseSession(t *testing.T) {
	id := counting(1, SessionSize)
	if got, err := ParseSession(id); err != nil || !bytes.Equal(got[:], id) {
		t.Errorf("parsed as % x, %v", got, err)
	}
	for _, n := range []int{0, 15, 17, 255} {
		if _, err := ParseSession(make([]byte, n)); !errors.Is(err, ErrMalformed) {
			t.Errorf("%d bytes: %v", n, err)
		}
	}
}

func TestParseCarrier(t *testing.T) {
	c := Carrier{Session: [16]byte(counting(1, SessionSize)), Number: 513}
	b := AppendCarrier(nil, c)
	if want := append(counting(1, SessionSize), 2, 1); !bytes.Equal(b, want) {
		t.Errorf("appended % x, want % x", b, want)
	}
	if got, err := ParseCarrier(b); err != nil || got != c {
		t.Errorf("parsed as %+v, %v", got, err)
	}
	for _, n := range []int{0, 16, 17, 19} {
		if _, err := ParseCarrier(make([]byte, n)); !errors.Is(err, ErrMalformed) {
			t.Errorf("%d bytes: %v", n, err)
		}
	}
}

func FuzzParseJoin(f *testing.F) {
	f.Add(unhex(f, goldenJoin))
	f.Add(unhex(f, goldenJoin)[:45])
	f.Add(AppendJoin(nil, Join{Name: strings.Repeat("日", 30)}))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		j, err := ParseJoin(b)
		if err != nil {
			checkMalformed(t, err)
			return
		}
		if again := AppendJoin(nil, j); !bytes.Equal(again, b) {
			t.Errorf("% x became % x", b, again)
		}
	})
}

func FuzzParseSession(f *testing.F) {
	f.Add(counting(0, 16))
	f.Add([]byte("short"))
	f.Fuzz(func(t *testing.T, b []byte) {
		id, err := ParseSession(b)
		if err != nil {
			checkMalformed(t, err)
		} else if !bytes.Equal(id[:], b) {
			t.Errorf("% x became % x", b, id)
		}
	})
}

func FuzzParseCarrier(f *testing.F) {
	f.Add(AppendCarrier(nil, Carrier{Session: [16]byte(counting(0, 16)), Number: 2}))
	f.Add(counting(0, 17))
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := ParseCarrier(b)
		if err != nil {
			checkMalformed(t, err)
		} else if again := AppendCarrier(nil, c); !bytes.Equal(again, b) {
			t.Errorf("% x became % x", b, again)
		}
	})
}

// FuzzFit holds that an encoder cannot produce a string that the peer refuses.
func FuzzFit(f *testing.F) {
	f.Add("plain", byte(255))
	f.Add("日本日本", byte(5))
	f.Add("\xff\x00\u0085", byte(3))
	f.Add("cut to nothing: 日", byte(0))
	f.Fuzz(func(t *testing.T, s string, limit byte) {
		got := fit(s, int(limit))
		if len(got) > int(limit) {
			t.Errorf("%q has %d bytes, the limit is %d", got, len(got), limit)
		}
		if err := checkText([]byte(got)); err != nil {
			t.Errorf("%q became %q: %v", s, got, err)
		}
		if checkText([]byte(s)) == nil && len(s) <= int(limit) && got != s {
			t.Errorf("%q was fine and became %q", s, got)
		}
	})
}
