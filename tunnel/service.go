package tunnel

import (
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/tunnelpool/pool/internal/access"
	"github.com/tunnelpool/pool/internal/wire"
)

// Service is one thing a client publishes: a port on the server's public host
// and the target behind the client that its users reach.
type Service struct {
	// Name is what the service is called in logs and on the status page, 1 to 64
	// printable characters without '='. Default: the port as text, or Target
	// when Port is 0; for UDP with "udp/" in front.
	Name string

	// Bind is the address on the server that the port is opened on, an IP
	// address without brackets. Default: the server's own choice.
	Bind string

	// Network is "tcp", the default, or "udp".
	Network string

	// Port is the public port. 0 lets the server choose one and report it.
	Port uint16

	// Target is the host:port that the client dials for every user, as
	// net.Dial takes it, or unix:/path of a Unix socket. Several are separated by
	// commas, at most 32: users are led to them in turn, and from one that cannot
	// be reached to the next within the same dial.
	Target string

	// Group, when set, lets clients with the same key that publish a service with
	// this Name, Port, Bind and Group share the port: each user goes to the one
	// with the fewest, and to another one when that is lost. With Port 0 they share
	// the port that the server chose for the first of them. 1 to 64 printable
	// characters. Default: the port is this client's alone.
	Group string

	// AllowFrom are the prefixes of the users that are let in, as the server
	// sees their addresses; the server resets others at once. An IPv4 address in
	// the IPv4-mapped IPv6 form counts as IPv4. Written with commas between them
	// they have 255 bytes at most. Default: users from anywhere.
	AllowFrom []netip.Prefix

	// UDPIdle is for UDP: what one user address and the target exchange is a
	// flow, which ends when neither has sent anything for this long. 1 s to 1 h,
	// default 60 s.
	UDPIdle time.Duration

	// ConnectTimeout bounds each dial of a target, default 10 s.
	ConnectTimeout time.Duration

	// Health is how targets are checked while the client runs: "tcp" for a
	// connection, "http:/path" for a GET that is answered with a status of 200 to
	// 399. One that fails two checks in a row is passed over until it succeeds in
	// one; a service with a single target only logs it. Default: no checks.
	Health string

	// HealthInterval is the time between two checks of a target, default 5 s. A
	// check takes no longer than it, or ConnectTimeout if that is shorter.
	HealthInterval time.Duration

	// ProxyProtocol has every connection to a target begin with a header of the
	// PROXY protocol that tells the user's address and the public one: "v1" or
	// "v2". Health checks send one that speaks for nobody. Default: none.
	ProxyProtocol string

	// Rate bounds what passes for all users of the service together, in bytes per
	// second and in each direction for itself: at least [MinRate]. Default: no bound.
	Rate int64

	// MaxStreams bounds the users of the service that are served at the same time;
	// those beyond are reset. Default: [ClientConfig.MaxStreams].
	MaxStreams int
}

// sources is AllowFrom on the wire.
func (s *Service) sources() (string, error) {
	from, err := access.NewSources(s.AllowFrom)
	if err != nil || from.Anywhere() {
		return "", err
	}
	if text := from.String(); len(text) <= wire.MaxText {
		return text, nil
	}
	return "", fmt.Errorf("%d prefixes are more than %d bytes of text; join neighbours", len(s.AllowFrom), wire.MaxText)
}

// request asks for the service's port.
func (s *Service) request(ref uint16) wire.Register {
	sources, _ := s.sources() // checkServices has seen to it
	return wire.Register{Ref: ref, Network: s.network(), Port: s.Port, Bind: s.Bind, Name: s.Name, Group: s.Group, Sources: sources}
}

// MinRate is the least [Service.Rate], in bytes per second.
const MinRate = 1000

// checkServices refuses what cannot be published, and fills names in.
func checkServices(services []Service) error {
	if len(services) > maxServices {
		return badField("Services", "%d of them; %d is the limit", len(services), maxServices)
	}
	names := make(map[string]bool)
	for i := range services {
		s := &services[i]
		switch {
		case s.Target == "":
			return badField("Services", "number %d has no target", i+1)
		case s.Bind != "" && net.ParseIP(s.Bind) == nil:
			return badField("Services", "the bind address %q of number %d is not an IP address", s.Bind, i+1)
		case !nameAllowed(s.Group):
			return badField("Services", "the group %q of number %d: want 1 to %d printable characters without '='", s.Group, i+1, maxServiceName)
		case s.Rate != 0 && s.Rate < MinRate:
			return badField("Services", "the rate of number %d: %d bytes a second are too few; want %d at least", i+1, s.Rate, MinRate)
		case s.MaxStreams < 0:
			return badField("Services", "the most streams of number %d: %d is negative", i+1, s.MaxStreams)
		case s.Name != "" && !nameAllowed(s.Name):
			return badField("Services", "the name %q of number %d: want 1 to %d printable characters without '='", s.Name, i+1, maxServiceName)
		}
		if _, err := s.sources(); err != nil {
			return badField("Services", "the prefixes of users of number %d: %w", i+1, err)
		}
		if err := s.checkTargets(); err != nil {
			return badField("Services", "number %d: %w", i+1, err)
		}
		if err := s.checkNetwork(i + 1); err != nil {
			return err
		}
		setDefault(&s.ConnectTimeout, DefaultConnectTimeout)
		setDefault(&s.HealthInterval, DefaultHealthInterval)
		if s.Name == "" {
			s.Name = s.Target
			if s.Port != 0 {
				s.Name = strconv.Itoa(int(s.Port))
			}
			if s.isUDP() {
				s.Name = "udp/" + s.Name
			}
		}
		if names[s.Name] {
			return badField("Services", "%q is there twice; give each service a name of its own", s.Name)
		}
		names[s.Name] = true
	}
	return nil
}

const maxServiceName = 64 // characters

func nameAllowed(name string) bool {
	for _, r := range name {
		if r == '=' || r == utf8.RuneError || !strconv.IsPrint(r) {
			return false
		}
	}
	return utf8.RuneCountInString(name) <= maxServiceName
}
