package proxyheader

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"io"
	"net/netip"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/pires/go-proxyproto"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

// TestMain fails the package when a test leaves a goroutine behind.
func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestFormat(t *testing.T) {
	const v2 = "0d0a0d0a000d0a515549540a"
	for _, tt := range []struct{ user, public, v1, v2 string }{
		{"192.0.2.1:4000", "198.51.100.7:8080", "PROXY TCP4 192.0.2.1 198.51.100.7 4000 8080",
			v2 + "21 11 000c c0000201 c6336407 0fa0 1f90"},
		{"[2001:db8::1]:4000", "[2001:db8::7]:8080", "PROXY TCP6 2001:db8::1 2001:db8::7 4000 8080",
			v2 + "21 21 0024 20010db8000000000000000000000001 20010db8000000000000000000000007 0fa0 1f90"},
		{"[::ffff:192.0.2.1]:4000", "198.51.100.7:8080", "PROXY TCP4 192.0.2.1 198.51.100.7 4000 8080", ""},
		{"192.0.2.1:4000", "[::ffff:198.51.100.7]:8080", "PROXY TCP4 192.0.2.1 198.51.100.7 4000 8080", ""},
		{"192.0.2.1:4000", "[::]:8080", "PROXY TCP4 192.0.2.1 0.0.0.0 4000 8080", ""},
		{"192.0.2.1:4000", "[2001:db8::7]:8080", "PROXY TCP4 192.0.2.1 0.0.0.0 4000 8080", ""},
		{"[2001:db8::1]:4000", "198.51.100.7:8080", "PROXY TCP6 2001:db8::1 :: 4000 8080", ""},
		{"[fe80::1%eth0]:4000", "[fe80::2%eth0]:8080", "PROXY TCP6 fe80::1 fe80::2 4000 8080", ""},
		{"192.0.2.1:4000", "nonsense", "PROXY TCP4 192.0.2.1 0.0.0.0 4000 0", ""},
		{"", "198.51.100.7:8080", "PROXY UNKNOWN", v2 + "20 00 0000"},
		{"192.0.2.1:4000\r\nPROXY TCP4 1.1.1.1", "198.51.100.7:8080", "PROXY UNKNOWN", v2 + "20 00 0000"},
		{"192.0.2.1 4000", "", "PROXY UNKNOWN", ""},
		{"user.example:4000", "", "PROXY UNKNOWN", ""},
		{"192.0.2.1:65536", "", "PROXY UNKNOWN", ""},
		{"[fe80::1%e\r\nx]:4000", "", "PROXY TCP6 fe80::1 :: 4000 0", ""},
	} {
		user, public := Parse(tt.user), Parse(tt.public)
		require.Equal(t, tt.v1+"\r\n", string(Format(V1, user, public)), "%q", tt.user)
		if tt.v2 != "" {
			require.Equal(t, strings.ReplaceAll(tt.v2, " ", ""), hex.EncodeToString(Format(V2, user, public)))
		}
	}
}

func TestParseVersion(t *testing.T) {
	for text, want := range map[string]Version{"v1": V1, "v2": V2} {
		v, err := ParseVersion(text)
		require.NoError(t, err)
		require.Equal(t, want, v)
	}
	for _, text := range []string{"", "1", "v3", "V1"} {
		_, err := ParseVersion(text)
		require.EqualError(t, err, `want "v1" or "v2"`)
	}
}

// TestReadTakesNothingElse: what the user says behind the header is left, however
// the bytes arrive.
func TestReadTakesNothingElse(t *testing.T) {
	user := netip.MustParseAddrPort("192.0.2.1:4000")
	six := netip.MustParseAddrPort("[2001:db8::1]:4000")
	long := &proxyproto.Header{Version: 2, Command: proxyproto.PROXY, TransportProtocol: proxyproto.TCPv4,
		SourceAddr: tcpAddr(user.Addr(), 4000), DestinationAddr: tcpAddr(user.Addr(), 1)}
	require.NoError(t, long.SetTLVs([]proxyproto.TLV{{Type: proxyproto.PP2_TYPE_AUTHORITY, Value: make([]byte, 4000)}}))
	withTLVs, err := long.Format()
	require.NoError(t, err)
	for name, tt := range map[string]struct {
		header []byte
		user   netip.AddrPort
	}{
		"v1, IPv4":         {Format(V1, user, user), user},
		"v2, IPv4":         {Format(V2, user, user), user},
		"v1, IPv6":         {Format(V1, six, six), six},
		"v2, IPv6":         {Format(V2, six, six), six},
		"v1, shortest":     {[]byte("PROXY TCP6 :: :: 1 1\r\n"), netip.MustParseAddrPort("[::]:1")},
		"v1, mapped":       {[]byte("PROXY TCP6 ::ffff:192.0.2.1 :: 4000 1\r\n"), user},
		"v1, unknown":      {[]byte("PROXY UNKNOWN\r\n"), netip.AddrPort{}},
		"v1, unknown, and": {[]byte("PROXY UNKNOWN whatever it says\r\n"), netip.AddrPort{}},
		"v2, local":        {Format(V2, netip.AddrPort{}, netip.AddrPort{}), netip.AddrPort{}},
		"v2, with more":    {withTLVs, user},
	} {
		t.Run(name, func(t *testing.T) {
			for _, said := range []string{"", "GET / HTTP/1.1\r\n", "\r\n", "PROXY TCP4 198.51.100.1 198.51.100.1 1 1\r\n"} {
				whole := append(bytes.Clone(tt.header), said...)
				for _, r := range []io.Reader{bytes.NewReader(whole), iotest.OneByteReader(bytes.NewReader(whole))} {
					got, err := Read(r)
					require.NoError(t, err)
					require.Equal(t, tt.user, got)
					rest, err := io.ReadAll(r)
					require.NoError(t, err)
					require.Equal(t, said, string(rest))
				}
			}
			for n := range len(tt.header) {
				_, err := Read(bytes.NewReader(tt.header[:n]))
				want := io.ErrUnexpectedEOF
				if n == 0 {
					want = io.EOF
				}
				require.Equal(t, want, err, "%d bytes of it", n)
			}
		})
	}
}

func TestReadRefuses(t *testing.T) {
	v2 := string(proxyproto.SIGV2)
	for _, text := range []string{
		"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
		"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 a hello of TLS",
		"PROXY TCP4 192.0.2.1 192.0.2.2 4000\r\n",
		"PROXY TCP4 192.0.2.1 192.0.2.2 4000 65536\r\n",
		"PROXY TCP4 2001:db8::1 192.0.2.2 4000 80\r\n",
		"PROXY TCP6 192.0.2.1 192.0.2.2 4000 80\r\n",
		"PROXY TCP4  192.0.2.1 192.0.2.2 4000 80\r\n",
		"PROXY TCP4 192.0.2.1 192.0.2.2 4000 80\n..",
		"PROXYTCP4 192.0.2.1 192.0.2.2 4000 80\r\n",
		"PROXY TCP6 fe80::1%eth0 :: 4000 80\r\n",
		"PROXY UDP4 192.0.2.1 192.0.2.2 4000 80\r\n",
		"PROXY " + strings.Repeat("x", 200),
		v2 + "\x31\x11\x00\x0c" + strings.Repeat("x", 12), // version 3
		v2 + "\x22\x11\x00\x0c" + strings.Repeat("x", 12), // no such command
		v2 + "\x21\x11\x00\x0b" + strings.Repeat("x", 11), // too short
		v2 + "\x21\x12\x00\x0c" + strings.Repeat("x", 12), // UDP
		v2 + "\x21\x31\x00\xd8" + strings.Repeat("x", 216),
		v2 + "\x21\x11\xff\xff" + strings.Repeat("x", 1<<16),
	} {
		_, err := Read(strings.NewReader(text))
		require.ErrorIs(t, err, ErrMalformed, "%q", text)
	}
}

// FuzzFormat: whatever a server says of a user and of its own address, the header
// is one that a target reads whole and understands as what was said, or as
// nothing being known.
func FuzzFormat(f *testing.F) {
	for _, seed := range []string{"192.0.2.1:4000", "[2001:db8::1]:1", "[::ffff:192.0.2.1]:65535", "[fe80::1%a\r\nb]:80", "", "x:1", "192.0.2.1:1\r\n"} {
		f.Add(seed, "[::]:8080")
		f.Add("192.0.2.1:4000", seed)
	}
	f.Fuzz(func(t *testing.T, user, public string) {
		for _, v := range []Version{V1, V2} {
			header := Format(v, Parse(user), Parse(public))
			require.LessOrEqual(t, len(header), maxV1)
			behind := bufio.NewReader(io.MultiReader(bytes.NewReader(header), strings.NewReader("user")))
			read, err := proxyproto.Read(behind)
			require.NoError(t, err)
			rest, err := io.ReadAll(behind)
			require.NoError(t, err)
			require.Equal(t, "user", string(rest))
			want, err := netip.ParseAddrPort(user)
			if err != nil {
				require.True(t, read.Command.IsLocal())
				continue
			}
			got, err := Read(bytes.NewReader(header))
			require.NoError(t, err)
			require.Equal(t, netip.AddrPortFrom(want.Addr().Unmap().WithZone(""), want.Port()), got)
		}
	})
}

// FuzzRead: nothing that a trusted proxy sends makes more of it than a refusal,
// and no byte behind the header is taken.
func FuzzRead(f *testing.F) {
	for _, seed := range []string{
		"PROXY TCP4 192.0.2.1 192.0.2.2 4000 80\r\nuser", "PROXY UNKNOWN\r\n", "PROXY TCP6 ::ffff:1.2.3.4 :: 1 1\r\n",
		string(proxyproto.SIGV2) + "\x21\x11\x00\x0cabcdefghijkluser", string(proxyproto.SIGV2) + "\x20\x00\x00\x00", "GET / HTTP/1.0\r\n\r\n",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		r := bytes.NewReader(b)
		user, err := Read(r)
		taken := len(b) - r.Len()
		require.LessOrEqual(t, taken, maxV2)
		if err != nil {
			require.False(t, user.IsValid())
			return
		}
		whole := bufio.NewReaderSize(bytes.NewReader(b), len(b))
		_, err = proxyproto.Read(whole)
		require.NoError(t, err)
		rest, err := io.ReadAll(whole)
		require.NoError(t, err)
		require.Len(t, rest, r.Len(), "what the library takes, and no more")
	})
}
