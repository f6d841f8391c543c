package config

import (
	"fmt"
	"net"
	"strconv"
	"strings"

	"github.com/tunnelpool/pool/tunnel"
)

// forwardForm is what every error about -L ends with.
const forwardForm = "; the form is [NAME=][udp/][BIND:]PORT:[HOST:]HOSTPORT, as in 5432:db:5432"

// ParseForward reads an -L argument:
//
//	[NAME=][udp/][BIND:]PORT:[HOST:]HOSTPORT
//
// BIND and PORT are at the client, 127.0.0.1 when only the port is given, and
// HOST:HOSTPORT is as the server reaches it, localhost when only the port is given.
// Fields are told apart as in -R. PORT 0 lets the system choose.
func ParseForward(text string) (tunnel.Forward, error) {
	f, err := parseForward(text)
	if err != nil {
		return tunnel.Forward{}, fmt.Errorf("-L %q: %w%s", text, err, forwardForm)
	}
	return f, nil
}

func parseForward(text string) (f tunnel.Forward, err error) {
	name, rest, named := strings.Cut(text, "=")
	if named {
		if err := checkName(name); err != nil {
			return f, err
		}
		f.Name = name
	} else {
		rest = text
	}
	if udp, ok := strings.CutPrefix(rest, "udp/"); ok {
		rest, f.Network = udp, "udp"
	}
	fields, err := splitFields(rest)
	if err != nil {
		return f, err
	}
	bind, host := "", defaultHost
	switch len(fields) {
	case 2:
	case 3:
		host = fields[1]
	case 4:
		host = fields[2]
		if bind, err = parseBind(fields[0]); err != nil {
			return f, err
		}
		fields = fields[1:]
	default:
		return f, fmt.Errorf("the number of fields between colons is %d, not 2, 3 or 4", len(fields))
	}
	port, err := parsePort("port to listen on", fields[0], 0)
	if err != nil {
		return f, err
	}
	hostPort, err := parsePort("target port", fields[len(fields)-1], 1)
	if err != nil {
		return f, err
	}
	if host, err = parseHost(host); err != nil {
		return f, err
	}
	f.Listen = net.JoinHostPort(bind, strconv.Itoa(int(port)))
	f.Target = net.JoinHostPort(host, strconv.Itoa(int(hostPort)))
	return f, nil
}
