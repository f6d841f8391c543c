package config

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/tunnelpool/pool/tunnel"
)

// defaultHost is the target's host when -R names none.
const defaultHost = "localhost"

// udpPrefix is in front of the ports of UDP.
const udpPrefix = "udp/"

const (
	maxName = 64  // of a service, in characters
	maxHost = 253 // of a target, in bytes: as long as DNS can have it
)

// reverseForm is what every error about -R ends with.
const reverseForm = "; the form is [NAME=][udp/][BIND:]PORT:[HOST:]HOSTPORT, as in 8080:3000"

// ParseReverse reads an -R argument:
//
//	[NAME=][udp/][BIND:]PORT:[HOST:]HOSTPORT[,[HOST:]HOSTPORT…]
//
// Two fields are PORT:HOSTPORT with the host localhost, three are
// PORT:HOST:HOSTPORT, and only four have a BIND. IPv6 addresses stand in
// brackets. PORT 0 lets the server choose. Each target may be unix:/PATH
// instead. The name is by default the port as text, or the targets when the port
// is 0; for UDP with "udp/" in front.
func ParseReverse(text string) (tunnel.Service, error) {
	s, err := parseReverse(text)
	if err != nil {
		return tunnel.Service{}, fmt.Errorf("-R %q: %w%s", text, err, reverseForm)
	}
	return s, nil
}

func parseReverse(text string) (s tunnel.Service, err error) {
	name, rest, named := strings.Cut(text, "=")
	if named {
		if err := checkName(name); err != nil {
			return s, err
		}
		s.Name = name
	} else {
		rest = text
	}
	if ports, udp := strings.CutPrefix(rest, udpPrefix); udp {
		s.Network, rest = "udp", ports
	}
	targets := strings.Split(rest, ",")
	public, first, err := cutPublic(targets[0])
	if err != nil {
		return s, err
	}
	if len(public) == 2 {
		if s.Bind, err = parseBind(public[0]); err != nil {
			return s, err
		}
	}
	if s.Port, err = parsePort("public port", public[len(public)-1], 0); err != nil {
		return s, err
	}
	targets[0] = first
	if s.Target, err = parseTargets(targets); err != nil {
		return s, err
	}
	if s.Name == "" {
		s.Name = strconv.Itoa(int(s.Port))
		if s.Port == 0 {
			s.Name = s.Target
		}
		if s.Network == "udp" {
			s.Name = udpPrefix + s.Name
		}
		s.Name = cutName(s.Name)
	}
	return s, nil
}

// splitFields splits at colons outside brackets, and keeps the brackets.
func splitFields(text string) ([]string, error) {
	var fields []string
	start, inside := 0, false
	for i := range len(text) {
		switch c := text[i]; {
		case c == '[' && (inside || i != start), c == ']' && !inside:
			return nil, fmt.Errorf("a bracket where none belongs; brackets enclose an IPv6 address")
		case c == '[', c == ']':
			inside = !inside
		case c == ':' && !inside:
			fields = append(fields, text[start:i])
			start = i + 1
		case i > start && text[i-1] == ']':
			return nil, fmt.Errorf("%q after a bracket; a colon belongs there", string(c))
		}
	}
	if inside {
		return nil, fmt.Errorf("an opening bracket without its closing one")
	}
	return append(fields, text[start:]), nil
}

func checkName(name string) error {
	if name == "" {
		return fmt.Errorf("the name before '=' is empty")
	}
	if utf8.RuneCountInString(name) > maxName {
		return fmt.Errorf("the name before '=' is longer than %d characters", maxName)
	}
	for _, r := range name {
		if !unicode.IsPrint(r) || r == utf8.RuneError {
			return fmt.Errorf("the name before '=' has characters that do not print")
		}
	}
	return nil
}

func parsePort(what, text string, least uint64) (uint16, error) {
	n, err := strconv.ParseUint(text, 10, 16)
	switch {
	case text == "":
		return 0, fmt.Errorf("the %s is empty", what)
	case err != nil || text[0] == '+' || n < least:
		return 0, fmt.Errorf("the %s %q is not a number from %d to 65535", what, text, least)
	}
	return uint16(n), nil
}

// parseBind takes an IP address of the server, IPv6 in brackets.
func parseBind(text string) (string, error) {
	host, err := unbracket(text)
	if err != nil {
		return "", err
	}
	if host == "" {
		return "", fmt.Errorf("the bind address is empty; leave it out for the server's default")
	}
	addr, err := netip.ParseAddr(host)
	switch {
	case err != nil:
		return "", fmt.Errorf("the bind address %q is not an IP address", text)
	case addr.Zone() != "":
		return "", fmt.Errorf("the bind address %q has a zone, which means nothing on the server", text)
	}
	return host, nil
}

func parseHost(text string) (string, error) {
	host, err := unbracket(text)
	if err != nil {
		return "", err
	}
	if host == "" {
		return "", fmt.Errorf("the target's host is empty; leave it out for %s", defaultHost)
	}
	if len(host) > maxHost {
		return "", fmt.Errorf("the target's host is longer than %d bytes", maxHost)
	}
	signs := hostSigns
	if host != text {
		signs = bracketedSigns
	}
	for _, r := range host {
		if !unicode.IsLetter(r) && !unicode.IsDigit(r) && !strings.ContainsRune(signs, r) {
			return "", fmt.Errorf("the target's host %q has a character that no host name has", text)
		}
	}
	return host, nil
}

// What may stand in a host beside letters and digits.
const (
	hostSigns      = "-._"
	bracketedSigns = hostSigns + ":%" // an IPv6 address and its zone
)

// unbracket takes the brackets off an IPv6 address, and accepts nothing else in
// them.
func unbracket(text string) (string, error) {
	inner, bracketed := strings.CutPrefix(text, "[")
	if !bracketed {
		return text, nil
	}
	inner = strings.TrimSuffix(inner, "]")
	if addr, err := netip.ParseAddr(inner); err != nil || !addr.Is6() {
		return "", fmt.Errorf("%q is not an IPv6 address in brackets", text)
	}
	return inner, nil
}
