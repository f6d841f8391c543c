package config

import (
	"fmt"
	"net"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/tunnelpool/pool/internal/service"
)

// cutPublic splits [BIND:]PORT off the first target of an -R, which it returns
// as it was written.
func cutPublic(text string) (public []string, target string, err error) {
	if at := strings.Index(text, ":"+service.UnixScheme+"/"); at >= 0 {
		public, err = splitFields(text[:at])
		if err == nil && len(public) > 2 {
			err = fmt.Errorf("the number of fields before %s is %d, not 1 or 2", service.UnixScheme, len(public))
		}
		return public, text[at+1:], err
	}
	fields, err := splitFields(text)
	if err != nil {
		return nil, "", err
	}
	n := 1 // fields of the public part
	switch len(fields) {
	case 2, 3:
	case 4:
		n = 2
	default:
		return nil, "", fmt.Errorf("the number of fields between colons is %d, not 2, 3 or 4", len(fields))
	}
	return fields[:n], strings.Join(fields[n:], ":"), nil
}

// parseTargets reads what users are led to, and writes it as [tunnel.Service] has
// it.
func parseTargets(texts []string) (string, error) {
	if len(texts) > service.MaxTargets {
		return "", fmt.Errorf("there are %d targets; %d is the limit", len(texts), service.MaxTargets)
	}
	var targets []string
	for _, text := range texts {
		target, err := parseTarget(text)
		if err != nil {
			return "", err
		}
		targets = append(targets, target)
	}
	return strings.Join(targets, ","), nil
}

// parseTarget reads [HOST:]HOSTPORT or unix:/PATH.
func parseTarget(text string) (string, error) {
	if path, ok := strings.CutPrefix(text, service.UnixScheme); ok && strings.HasPrefix(path, "/") {
		return text, service.CheckSocketPath(path)
	}
	fields, err := splitFields(text)
	if err != nil {
		return "", err
	}
	host := defaultHost
	switch len(fields) {
	case 1:
	case 2:
		host = fields[0]
	default:
		return "", fmt.Errorf("the target %q has %d fields between colons, not 1 or 2", text, len(fields))
	}
	port, err := parsePort("target port", fields[len(fields)-1], 1)
	if err != nil {
		if path, ok := strings.CutPrefix(text, service.UnixScheme); ok {
			return "", fmt.Errorf("the path %q of the Unix socket does not begin with '/'", path)
		}
		return "", err
	}
	if host, err = parseHost(host); err != nil {
		return "", err
	}
	return net.JoinHostPort(host, strconv.Itoa(int(port))), nil
}

// cutName makes a name of at most maxName characters.
func cutName(text string) string {
	for utf8.RuneCountInString(text) > maxName {
		_, last := utf8.DecodeLastRuneInString(text)
		text = text[:len(text)-last]
	}
	return text
}
