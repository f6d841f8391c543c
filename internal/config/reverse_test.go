package config

import (
	"net"
	"net/netip"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"github.com/tunnelpool/pool/tunnel"
)

func TestParseReverse(t *testing.T) {
	long := strings.Repeat("a", maxHost-2)
	for text, want := range map[string]tunnel.Service{
		"8080:3000":                      {Name: "8080", Port: 8080, Target: "localhost:3000"},
		"1:65535":                        {Name: "1", Port: 1, Target: "localhost:65535"},
		"65535:1":                        {Name: "65535", Port: 65535, Target: "localhost:1"},
		"08080:03000":                    {Name: "8080", Port: 8080, Target: "localhost:3000"},
		"0:3000":                         {Name: "localhost:3000", Target: "localhost:3000"},
		"0:nas:80":                       {Name: "nas:80", Target: "nas:80"},
		"0:" + long + ":80":              {Name: long[:maxName], Target: long + ":80"},
		"web=0:3000":                     {Name: "web", Target: "localhost:3000"},
		"8080:nas:80":                    {Name: "8080", Port: 8080, Target: "nas:80"},
		"8080:192.168.1.20:80":           {Name: "8080", Port: 8080, Target: "192.168.1.20:80"},
		"8080:nas.example.com.:80":       {Name: "8080", Port: 8080, Target: "nas.example.com.:80"},
		"8080:my_host-1:80":              {Name: "8080", Port: 8080, Target: "my_host-1:80"},
		"8080:bücher.example:80":         {Name: "8080", Port: 8080, Target: "bücher.example:80"},
		"8080:[::1]:80":                  {Name: "8080", Port: 8080, Target: "[::1]:80"},
		"8080:[fe80::1%eth0]:80":         {Name: "8080", Port: 8080, Target: "[fe80::1%eth0]:80"},
		"8080:[::ffff:10.0.0.1]:80":      {Name: "8080", Port: 8080, Target: "[::ffff:10.0.0.1]:80"},
		"127.0.0.1:8080:nas:80":          {Name: "8080", Bind: "127.0.0.1", Port: 8080, Target: "nas:80"},
		"0.0.0.0:8080:nas:80":            {Name: "8080", Bind: "0.0.0.0", Port: 8080, Target: "nas:80"},
		"[::1]:8080:nas:80":              {Name: "8080", Bind: "::1", Port: 8080, Target: "nas:80"},
		"[::]:0:[2001:db8::7]:443":       {Name: "[2001:db8::7]:443", Bind: "::", Target: "[2001:db8::7]:443"},
		"web=8080:3000":                  {Name: "web", Port: 8080, Target: "localhost:3000"},
		"my web app=8080:nas:80":         {Name: "my web app", Port: 8080, Target: "nas:80"},
		"a:b=8080:3000":                  {Name: "a:b", Port: 8080, Target: "localhost:3000"},
		"udp/x=8080:3000":                {Name: "udp/x", Port: 8080, Target: "localhost:3000"},
		"8080:3000,3001":                 {Name: "8080", Port: 8080, Target: "localhost:3000,localhost:3001"},
		"8080:a:80,b:81,82":              {Name: "8080", Port: 8080, Target: "a:80,b:81,localhost:82"},
		"[::]:8080:a:80,[::1]:81":        {Name: "8080", Bind: "::", Port: 8080, Target: "a:80,[::1]:81"},
		"8080:unix:/run/app.sock":        {Name: "8080", Port: 8080, Target: "unix:/run/app.sock"},
		"::1=[::1]:8080:unix:/a:b,80":    {Name: "::1", Bind: "::1", Port: 8080, Target: "unix:/a:b,localhost:80"},
		"8080:a:80,unix:/s":              {Name: "8080", Port: 8080, Target: "a:80,unix:/s"},
		"8080:unix:80":                   {Name: "8080", Port: 8080, Target: "unix:80"},
		"0:unix:/run/app.sock":           {Name: "unix:/run/app.sock", Target: "unix:/run/app.sock"},
		"größe=[::1]:1:[::2]:2":          {Name: "größe", Bind: "::1", Port: 1, Target: "[::2]:2"},
		"udp/5353:127.0.0.1:53":          {Name: "udp/5353", Network: "udp", Port: 5353, Target: "127.0.0.1:53"},
		"dns=udp/[::1]:53:[::1]:53":      {Name: "dns", Network: "udp", Bind: "::1", Port: 53, Target: "[::1]:53"},
		"udp/0:53":                       {Name: "udp/localhost:53", Network: "udp", Target: "localhost:53"},
		"udp/0:" + long + ":80":          {Name: "udp/" + long[:maxName-4], Network: "udp", Target: long + ":80"},
		strings.Repeat("ü", 64) + "=1:2": {Name: strings.Repeat("ü", 64), Port: 1, Target: "localhost:2"},
	} {
		t.Run(text, func(t *testing.T) {
			got, err := ParseReverse(text)
			require.NoError(t, err)
			require.Equal(t, want, got)
		})
	}
}

func TestParseReverseRefuses(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"", "the number of fields between colons is 1, not 2, 3 or 4"},
		{"8080", "the number of fields between colons is 1, not 2, 3 or 4"},
		{"1:2:3:4:5", "the number of fields between colons is 5, not 2, 3 or 4"},
		{"8080:::1:80", "the number of fields between colons is 5, not 2, 3 or 4"},
		{"http://nas:80", `the public port "http" is not a number from 0 to 65535`},
		{":", "the public port is empty"},
		{":3000", "the public port is empty"},
		{"8080:", "the target port is empty"},
		{"8080:nas:", "the target port is empty"},
		{"x:3000", `the public port "x" is not a number from 0 to 65535`},
		{"65536:3000", `the public port "65536" is not a number from 0 to 65535`},
		{"-1:3000", `the public port "-1" is not a number from 0 to 65535`},
		{"+1:3000", `the public port "+1" is not a number from 0 to 65535`},
		{" 1:3000", `the public port " 1" is not a number from 0 to 65535`},
		{"1e3:3000", `the public port "1e3" is not a number from 0 to 65535`},
		{"0x1f:3000", `the public port "0x1f" is not a number from 0 to 65535`},
		{"8_0:3000", `the public port "8_0" is not a number from 0 to 65535`},
		{"٨٠:3000", `the public port "٨٠" is not a number from 0 to 65535`},
		{"99999999999999999999:1", `the public port "99999999999999999999" is not a number from 0 to 65535`},
		{"8080:0", `the target port "0" is not a number from 1 to 65535`},
		{"8080:x", `the target port "x" is not a number from 1 to 65535`},
		{"8080:70000", `the target port "70000" is not a number from 1 to 65535`},
		{"8080:nas:+80", `the target port "+80" is not a number from 1 to 65535`},
		{"nas:8080:80", `the public port "nas" is not a number from 0 to 65535`},
		{"8080::80", "the target's host is empty; leave it out for localhost"},
		{"8080:a b:80", `the target's host "a b" has a character that no host name has`},
		{"8080:a/b:80", `the target's host "a/b" has a character that no host name has`},
		{"8080:me@nas:80", `the target's host "me@nas" has a character that no host name has`},
		{"8080:a,b:80", `the target port "a" is not a number from 1 to 65535`},
		{"8080:3000,", "the target port is empty"},
		{"8080:,3000", "the target port is empty"},
		{"8080:a:80,:80", "the target's host is empty; leave it out for localhost"},
		{"8080:a:80,b", `the target port "b" is not a number from 1 to 65535`},
		{"8080:a:80,1:b:80", `the target "1:b:80" has 3 fields between colons, not 1 or 2`},
		{"8080:a:80,9090:b:80", `the target "9090:b:80" has 3 fields between colons, not 1 or 2`},
		{"8080:a:80,[::1:80", "an opening bracket without its closing one"},
		{"8080:80" + strings.Repeat(",80", 32), "there are 33 targets; 32 is the limit"},
		{"8080:unix:run/app.sock", `the path "run/app.sock" of the Unix socket does not begin with '/'`},
		{"8080:80,unix:app.sock", `the path "app.sock" of the Unix socket does not begin with '/'`},
		{"8080:unix:", `the path "" of the Unix socket does not begin with '/'`},
		{"unix:/run/app.sock", `the public port "unix" is not a number from 0 to 65535`},
		{"x:8080:nas:unix:/s", "the number of fields before unix: is 3, not 1 or 2"},
		{"web=8080:unix:/a=b", `the path "/a=b" of the Unix socket has a ',', a '=' or a character that does not print`},
		{"8080:unix:/a\x1bb", `the path "/a\x1bb" of the Unix socket has a ',', a '=' or a character that does not print`},
		{"8080:unix:/" + strings.Repeat("a", 103), "the path of the Unix socket has 104 bytes; systems take 103"},
		{"8080:a%b:80", `the target's host "a%b" has a character that no host name has`},
		{"8080:*:80", `the target's host "*" has a character that no host name has`},
		{"8080:a\x00b:80", `the target's host "a\x00b" has a character that no host name has`},
		{"8080:a\xffb:80", `the target's host "a\xffb" has a character that no host name has`},
		{"8080:a\nb:80", `the target's host "a\nb" has a character that no host name has`},
		{"8080:[fe80::1%a b]:80", `the target's host "[fe80::1%a b]" has a character that no host name has`},
		{"8080:" + strings.Repeat("a", maxHost+1) + ":80", "the target's host is longer than 253 bytes"},
		{"8080:[]:80", `"[]" is not an IPv6 address in brackets`},
		{"8080:[nas]:80", `"[nas]" is not an IPv6 address in brackets`},
		{"8080:[10.0.0.1]:80", `"[10.0.0.1]" is not an IPv6 address in brackets`},
		{"8080:[::1:80", "an opening bracket without its closing one"},
		{"8080:::1]:80", "a bracket where none belongs; brackets enclose an IPv6 address"},
		{"8080:[[::1]]:80", "a bracket where none belongs; brackets enclose an IPv6 address"},
		{"8080:x[::1]:80", "a bracket where none belongs; brackets enclose an IPv6 address"},
		{"8080:[::1]x:80", `"x" after a bracket; a colon belongs there`},
		{"[::1]8080:80", `"8" after a bracket; a colon belongs there`},
		{"[8080]:80", `the public port "[8080]" is not a number from 0 to 65535`},
		{"8080:[80]", `the target port "[80]" is not a number from 1 to 65535`},
		{":8080:nas:80", "the bind address is empty; leave it out for the server's default"},
		{"*:8080:nas:80", `the bind address "*" is not an IP address`},
		{"localhost:8080:nas:80", `the bind address "localhost" is not an IP address`},
		{"1.2.3:8080:nas:80", `the bind address "1.2.3" is not an IP address`},
		{"[1.2.3.4]:8080:nas:80", `"[1.2.3.4]" is not an IPv6 address in brackets`},
		{"[fe80::1%eth0]:8080:nas:80", `the bind address "[fe80::1%eth0]" has a zone, which means nothing on the server`},
		{"=8080:3000", "the name before '=' is empty"},
		{"web=", "the number of fields between colons is 1, not 2, 3 or 4"},
		{"a=b=8080:3000", `the public port "b=8080" is not a number from 0 to 65535`},
		{"a\tb=8080:3000", "the name before '=' has characters that do not print"},
		{"a\xff=8080:3000", "the name before '=' has characters that do not print"},
		{"a\u202eb=8080:3000", "the name before '=' has characters that do not print"},
		{strings.Repeat("n", 65) + "=8080:3000", "the name before '=' is longer than 64 characters"},
		{"udp/8080", "the number of fields between colons is 1, not 2, 3 or 4"},
		{"udp/udp/53:53", `the public port "udp/53" is not a number from 0 to 65535`},
		{"UDP/53:53", `the public port "UDP/53" is not a number from 0 to 65535`},
		{"tcp/8080:3000", `the public port "tcp/8080" is not a number from 0 to 65535`},
	} {
		t.Run(c.text, func(t *testing.T) {
			_, err := ParseReverse(c.text)
			require.EqualError(t, err, "-R "+strconv.Quote(c.text)+": "+c.want+reverseForm)
			require.NotContains(t, err.Error(), "\n")
		})
	}
}

// formatReverse writes a service in the grammar's longest form.
func formatReverse(s tunnel.Service) string {
	text := strconv.Itoa(int(s.Port)) + ":" + s.Target
	if s.Bind != "" {
		text = strings.TrimSuffix(net.JoinHostPort(s.Bind, ""), ":") + ":" + text
	}
	if s.Network == "udp" {
		text = udpPrefix + text
	}
	return s.Name + "=" + text
}

func FuzzParseReverse(f *testing.F) {
	for _, seed := range []string{
		"8080:3000", "0:nas:80", "web=[::1]:8080:[fe80::1%eth0]:80", "1.2.3.4:0:[::]:1", "a=b=1:2", "udp/1:2",
		"", ":", "[", "]", "[]:1", "1:[::1%]:2", "1:a%b:2", "1:a:2,b:3,4", "1:unix:/s,2", "1:unix:s", "\x00=1:2", "é=1:ü:2", "[::1%=]:1:2:3", "0:a=b:1",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		s, err := ParseReverse(text)
		if err != nil {
			require.NotContains(t, err.Error(), "\n")
			require.Zero(t, s)
			return
		}
		for target := range strings.SplitSeq(s.Target, ",") {
			if strings.HasPrefix(target, "unix:/") {
				continue
			}
			host, port, err := net.SplitHostPort(target)
			require.NoError(t, err)
			require.NotEmpty(t, host)
			n, err := strconv.ParseUint(port, 10, 16)
			require.NoError(t, err)
			require.NotZero(t, n)
		}
		require.NotEmpty(t, s.Name)
		require.True(t, utf8.ValidString(s.Name))
		require.LessOrEqual(t, utf8.RuneCountInString(s.Name), maxName)
		if s.Bind != "" {
			_, err := netip.ParseAddr(s.Bind)
			require.NoError(t, err)
		}
		again, err := ParseReverse(formatReverse(s))
		require.NoError(t, err)
		require.Equal(t, s, again)
		cfg := tunnel.ClientConfig{Server: "h", Services: []tunnel.Service{s}}
		require.NoError(t, cfg.Check(), "what the grammar takes, the tunnel takes")
	})
}
