package pool

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// fixedKey is the key of the golden tests: the bytes 0 to 31.
func fixedKey(t testing.TB) Key {
	key, err := ParseKey("AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8")
	require.NoError(t, err)
	return key
}

func TestParseKey(t *testing.T) {
	encode := func(n int) string {
		return base64.RawURLEncoding.EncodeToString(bytes.Repeat([]byte{0xfb}, n))
	}
	good := encode(32)
	for _, tt := range []struct {
		name, text, problem string
	}{
		{name: "shortest", text: encode(16)},
		{name: "usual", text: good},
		{name: "longest", text: encode(64)},
		{name: "empty", text: "", problem: "empty"},
		{name: "too short", text: encode(15), problem: "15 bytes"},
		{name: "too long", text: encode(65), problem: "longer than 64"},
		{name: "much too long", text: strings.Repeat("A", 1<<20), problem: "longer than 64"},
		{name: "padded", text: base64.URLEncoding.EncodeToString(make([]byte, 16)), problem: "padded"},
		{name: "standard alphabet", text: base64.RawStdEncoding.EncodeToString(bytes.Repeat([]byte{0xfb}, 32)), problem: "standard alphabet"},
		{name: "line feed at the end", text: good + "\n", problem: "white space"},
		{name: "line feed within", text: good[:5] + "\r\n" + good[5:], problem: "white space"},
		{name: "space in front", text: " " + good, problem: "white space"},
		{name: "stray bits at the end", text: encode(16)[:21] + "_", problem: "not base64url"},
		{name: "impossible length", text: good + "AA", problem: "not base64url"},
		{name: "other bytes", text: strings.Repeat("é", 16), problem: "not base64url"},
		{name: "a pass phrase", text: "correct.horse.battery.staple", problem: "not base64url"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			key, err := ParseKey(tt.text)
			if tt.problem == "" {
				require.NoError(t, err)
				require.Equal(t, tt.text, key.Text())
				require.False(t, key.IsZero())
				return
			}
			require.ErrorIs(t, err, ErrBadKey)
			require.ErrorContains(t, err, tt.problem)
			require.ErrorContains(t, err, "tunnel-server key show")
			require.True(t, key.IsZero())
			if len(tt.text) > 4 {
				require.NotContains(t, err.Error(), tt.text[:4], "the error quotes the text")
			}
		})
	}
}

func FuzzParseKey(f *testing.F) {
	f.Add("")
	f.Add("AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8")
	f.Add("AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh9")
	f.Add("AAAAAAAAAAAAAAAAAAAAAA==")
	f.Add("AAAAAAAAAAA\nAAAAAAAAAAA")
	f.Fuzz(func(t *testing.T, text string) {
		key, err := ParseKey(text)
		if err != nil {
			require.ErrorIs(t, err, ErrBadKey)
			require.True(t, key.IsZero())
			return
		}
		require.Equal(t, text, key.Text(), "two texts for one key")
		again, err := ParseKey(key.Text())
		require.NoError(t, err)
		require.Equal(t, key.ID(), again.ID())
	})
}

func TestNewKey(t *testing.T) {
	a, b := NewKey(), NewKey()
	require.NotEqual(t, a.Text(), b.Text())
	require.NotEqual(t, a.ID(), b.ID())
	parsed, err := ParseKey(a.Text())
	require.NoError(t, err)
	require.Equal(t, a.ID(), parsed.ID())
	require.Len(t, a.Text(), 43)
}

func TestZeroKey(t *testing.T) {
	var none Key
	require.True(t, none.IsZero())
	require.Empty(t, none.Text())
	require.Equal(t, KeyID{}, none.ID())
	require.Equal(t, "key:none", fmt.Sprint(none))
	require.True(t, none.Session([]byte("secret")).IsZero(), "a session of no key must not become a key")
	_, known := KnownKeys(none)(Hello{})
	require.False(t, known, "no key must not be known under the zero ID")
}

func TestSessionKeyKeepsID(t *testing.T) {
	key := NewKey()
	session := key.Session([]byte("secret"))
	require.Equal(t, key.ID(), session.ID())
	require.Empty(t, session.Text())

	said := transcript{class: classTLS, kind: KindPool, binding: make([]byte, 32)}
	proof := session.proof(roleClient, said)
	require.NotEqual(t, proof, key.proof(roleClient, said))
	require.NotEqual(t, proof, key.Session([]byte("other")).proof(roleClient, said))
	require.NotEqual(t, proof, NewKey().Session([]byte("secret")).proof(roleClient, said))
	require.Equal(t, proof, key.Session([]byte("secret")).proof(roleClient, said))
}

func TestKnownKeys(t *testing.T) {
	a, b := NewKey(), NewKey()
	find := KnownKeys(a, Key{}, b)
	for _, want := range []Key{a, b} {
		got, known := find(Hello{KeyID: want.ID()})
		require.True(t, known)
		require.Equal(t, want.Text(), got.Text())
	}
	_, known := find(Hello{KeyID: NewKey().ID()})
	require.False(t, known)
}

// TestKeyNeverPrinted prints keys in every way a program might by accident.
func TestKeyNeverPrinted(t *testing.T) {
	key := fixedKey(t)
	raw := key.material().mac
	secrets := []string{
		key.Text(), key.Text()[:12], string(raw),
		fmt.Sprintf("%x", raw[:6]), fmt.Sprintf("%X", raw[:6]),
		strings.Trim(fmt.Sprint(raw[:6]), "[]"), "0x0, 0x1, 0x2, 0x3", "0x00, 0x01, 0x02",
		base64.StdEncoding.EncodeToString(raw)[:12],
	}
	check := func(t *testing.T, how, out string) {
		t.Helper()
		for _, secret := range secrets {
			require.NotContains(t, out, secret, how)
		}
	}
	type hidden struct{ key Key }
	values := map[string]any{
		"value": key, "pointer": &key, "slice": []Key{key}, "map": map[string]Key{"k": key},
		"session": key.Session(raw), "exported field": struct{ Key Key }{key},
		"unexported field": hidden{key}, "pointer to unexported field": &hidden{key},
		"security": Security{Key: key}, "interface in a slice": []any{hidden{key}},
	}
	for name, v := range values {
		for _, verb := range "vTtbcdoOqxXUeEfFgGsp" {
			for _, flags := range []string{"", "+", "#", "-", " ", "0", "20.3"} {
				format := "%" + flags + string(verb)
				check(t, name+" "+format, fmt.Sprintf(format, v))
			}
		}
		encoded, _ := json.Marshal(v) // some cannot be encoded, which is fine
		check(t, name+" as JSON", string(encoded))
		var log bytes.Buffer
		slog.New(slog.NewTextHandler(&log, nil)).Info("m", "key", v)
		slog.New(slog.NewJSONHandler(&log, nil)).Info("m", "key", v)
		check(t, name+" in a log", log.String())
	}
	const id = "key:8adc89f941958303"
	for _, format := range []string{"%v", "%s", "%x", "%#v", "%d"} {
		require.Equal(t, id, fmt.Sprintf(format, key))
	}
	encoded, err := json.Marshal(struct{ K Key }{key})
	require.NoError(t, err)
	require.JSONEq(t, `{"K":"`+id+`"}`, string(encoded))
}
