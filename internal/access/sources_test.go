package access

import (
	"net"
	"net/netip"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func at(address string) net.Addr {
	return net.TCPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(address), 4000))
}

func TestSources(t *testing.T) {
	for _, tt := range []struct {
		text, want string
		in, out    []string
	}{
		{"10.0.0.0/8", "10.0.0.0/8", []string{"10.1.2.3", "::ffff:10.1.2.3"}, []string{"11.0.0.1", "::ffff:11.0.0.1", "::1", "::a00:1"}},
		{"192.0.2.1", "192.0.2.1/32", []string{"192.0.2.1"}, []string{"192.0.2.2"}},
		{" 10.0.0.0/8 , 2001:db8::/32", "10.0.0.0/8,2001:db8::/32", []string{"10.0.0.1", "2001:db8::1", "2001:db8::1%eth0"}, []string{"2001:db9::1"}},
		{"::ffff:10.0.0.0/104", "10.0.0.0/8", []string{"10.1.2.3", "::ffff:10.1.2.3"}, []string{"11.0.0.1"}},
		{"0.0.0.0/0", "0.0.0.0/0", []string{"192.0.2.1", "::ffff:192.0.2.1"}, []string{"2001:db8::1"}},
		{"::/0", "::/0", []string{"2001:db8::1"}, []string{"192.0.2.1", "::ffff:192.0.2.1"}},
		{"::1", "::1/128", []string{"::1"}, []string{"::2", "127.0.0.1"}},
	} {
		s, err := ParseSources(tt.text)
		require.NoError(t, err, tt.text)
		require.Equal(t, tt.want, s.String())
		for _, a := range tt.in {
			require.True(t, s.Allow(at(a)), "%s is in %s", a, tt.text)
		}
		for _, a := range tt.out {
			require.False(t, s.Allow(at(a)), "%s is not in %s", a, tt.text)
		}
		again, err := NewSources(s.Prefixes())
		require.NoError(t, err)
		require.Equal(t, s, again)
	}
}

func TestSourcesAnywhere(t *testing.T) {
	none, err := NewSources(nil)
	require.NoError(t, err)
	require.Equal(t, "anywhere", none.String())
	require.True(t, none.Allow(at("192.0.2.1")))
	require.True(t, none.Allow(&net.UnixAddr{Name: "x"}))
	some, err := ParseSources("0.0.0.0/0,::/0")
	require.NoError(t, err)
	require.True(t, some.Allow(&net.UDPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 1}))
	require.False(t, some.Allow(&net.UnixAddr{Name: "x"}), "who has no address comes from nowhere")
	require.False(t, some.Allow(nil))
}

func TestWrongSources(t *testing.T) {
	for text, want := range map[string]string{
		"":                        "no prefixes given",
		"10.0.0.0/8,":             `"" is not a prefix`,
		"10.0.0.0/33":             `"10.0.0.0/33" is not a prefix`,
		"10.0.0/8":                `"10.0.0/8" is not a prefix`,
		"example.com":             `"example.com" is not a prefix`,
		"fe80::1%eth0":            `is not a prefix`,
		"10.1.2.3/8":              "10.1.2.3/8 has bits behind its prefix; is 10.0.0.0/8 meant, or 10.1.2.3?",
		strings.Repeat(",", 5000): "more than 4096",
		"\x00\x1b[31m":            `"\x00\x1b[31m" is not a prefix`,
	} {
		_, err := ParseSources(text)
		require.ErrorContains(t, err, want, text)
	}
}

// FuzzParseSources: a client sends these. What is read is in one form, which
// reads back as the same.
func FuzzParseSources(f *testing.F) {
	for _, seed := range []string{"", "10.0.0.0/8,2001:db8::/32", "::ffff:10.0.0.0/104", "::ffff:0:0/95", "1.2.3.4,,", "fe80::%x/64", "0.0.0.0/0"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		s, err := ParseSources(text)
		if err != nil {
			for _, r := range err.Error() {
				require.False(t, r < ' ', "%q has a control character", err)
			}
			return
		}
		require.False(t, s.Anywhere())
		again, err := ParseSources(s.String())
		require.NoError(t, err)
		require.Equal(t, s, again)
		for _, p := range s.prefixes {
			require.True(t, s.Allow(at(p.Addr().String())))
			require.False(t, p.Addr().Is4In6() && p.Bits() >= 96)
		}
	})
}
