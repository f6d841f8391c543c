package pool

import (
	"encoding/hex"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// countUp is bytes from, from+1, … as the document's examples use them.
func countUp(from byte, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = from + byte(i)
	}
	return b
}

// TestProtocolDocument recomputes the examples of docs/PROTOCOL.md, section
// 11.1, and finds every one of them in the text.
func TestProtocolDocument(t *testing.T) {
	raw, err := os.ReadFile("docs/PROTOCOL.md")
	require.NoError(t, err)
	_, section, ok := strings.Cut(string(raw), "### 11.1 Proof")
	require.True(t, ok)
	section, _, _ = strings.Cut(section, "### 11.2")

	key := keyOf(countUp(0, 32))
	require.Contains(t, section, "`"+key.Text()+"`")
	require.Contains(t, section, "| key ID | "+key.ID().String()+" |")
	session := key.Session(countUp(0x20, 32))
	require.Contains(t, section, "| session key | "+hex.EncodeToString(session.material().mac)+" |")

	keys := map[string]Key{"key": key, "session key": session}
	bindings := map[string][]byte{classTLS: countUp(0x40, 32), classPlain: countUp(0x60, 64)}
	hellos := map[string][]byte{"empty": nil, "session": countUp(0, 16)}
	row := regexp.MustCompile(`(?m)^\| (tls|plain) \| ([a-z ]+) \| 1 \| (\w+) \| (client|server) \| ([0-9a-f]{64}) \|$`)
	rows := row.FindAllStringSubmatch(section, -1)
	require.Len(t, rows, 6)
	for _, r := range rows {
		said := transcript{class: r[1], kind: KindPool, binding: bindings[r[1]], hello: hellos[r[3]]}
		require.Equal(t, r[5], hex.EncodeToString(keys[r[2]].proof(r[4], said)), r[0])
	}

	// Section 3.1 quotes what a peer in the wrong mode is told.
	require.Contains(t, string(raw), "`"+strings.TrimSuffix(string(answerToTLS), "\n")+"`, line feed")
	require.Contains(t, string(raw), "| "+strings.TrimSpace(spaced(answerToPlain))+", the alert")
}

func spaced(b []byte) string {
	var text strings.Builder
	for _, c := range b {
		text.WriteString(hex.EncodeToString([]byte{c}) + " ")
	}
	return text.String()
}
