package tunnel

import (
	"net"
	"strconv"

	"github.com/tunnelpool/pool/internal/wire"
)

// Forward is one thing that the users of a client reach at the server's end: an
// address at the client, and the target that the server dials for each of them.
// The server must allow the target.
type Forward struct {
	// Name is what the forward is called in logs and on the status page, 1 to 64
	// printable characters without '='. Default: the port of Listen as text, or
	// Target when that is 0.
	Name string

	// Network is "tcp", the default, or "udp". A flow of UDP ends after 60 s
	// without a datagram either way.
	Network string

	// Listen is the host:port that users at the client connect to. An empty host
	// is 127.0.0.1, so that nobody else's users come; port 0 lets the system
	// choose.
	Listen string

	// Target is the host:port that the server dials for every user.
	Target string
}

// network is the forward's, as the server is asked for it.
func (f *Forward) network() byte { return networkCode(f.Network) }

// request asks whether users of the forward may come.
func (f *Forward) request(ref uint16) wire.Forward {
	return wire.Forward{Ref: ref, Network: f.network(), Target: f.Target}
}

// loopback is where a forward listens when nothing else is said.
const loopback = "127.0.0.1"

// checkForwards refuses what cannot be forwarded, and fills names in. Names are
// those of services too.
func checkForwards(forwards []Forward, services []Service) error {
	if len(forwards) > maxServices {
		return badField("Forwards", "%d of them; %d is the limit", len(forwards), maxServices)
	}
	names := make(map[string]bool)
	for _, s := range services {
		names[s.Name] = true
	}
	for i := range forwards {
		f := &forwards[i]
		host, port, err := net.SplitHostPort(f.Listen)
		if _, bad := strconv.ParseUint(port, 10, 16); err != nil || bad != nil {
			return badField("Forwards", "%q of number %d is not HOST:PORT to listen on", f.Listen, i+1)
		}
		if host == "" {
			f.Listen = net.JoinHostPort(loopback, port)
		}
		targetHost, targetPort, err := net.SplitHostPort(f.Target)
		setDefault(&f.Network, "tcp")
		switch {
		case f.Network != "tcp" && f.Network != "udp":
			return badField("Forwards", "the network %q of number %d is neither tcp nor udp", f.Network, i+1)
		case err != nil || targetHost == "" || targetPort == "":
			return badField("Forwards", "the target %q of number %d is not HOST:PORT", f.Target, i+1)
		case len(f.Target) > 255:
			return badField("Forwards", "the target of number %d has %d bytes", i+1, len(f.Target))
		case f.Name != "" && !nameAllowed(f.Name):
			return badField("Forwards", "the name %q of number %d: want 1 to %d printable characters without '='", f.Name, i+1, maxServiceName)
		}
		if f.Name == "" {
			f.Name = f.Target
			if port != "0" {
				f.Name = port
			}
		}
		if names[f.Name] {
			return badField("Forwards", "%q is there twice; give each service and forward a name of its own", f.Name)
		}
		names[f.Name] = true
	}
	return nil
}
