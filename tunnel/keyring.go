package tunnel

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"

	pool "github.com/tunnelpool/pool"
	"github.com/tunnelpool/pool/internal/access"
)

// Grant is a key and what its holder may do. Zero fields mean no limit beyond
// the server's own.
type Grant struct {
	// Name is what the log and errors call the key: 1 to 64 letters, digits,
	// dots, hyphens and underscores, the first no sign. Empty: the key's ID.
	Name string

	// Key is the secret. Required.
	Key pool.Key

	// Ports are the public ports that may be asked for, as in "8080,9000-9999",
	// of those that the server allows; "none" for none.
	Ports string

	// Forwards are the destinations that may be reached through the server, as
	// in "db.internal:5432,*:443", of those that the server allows; "none" for
	// none. A host is what the client asks for, before a name is looked up.
	Forwards string

	// MaxStreams bounds the users that are served at the same time by all clients
	// with this key. Users beyond wait for a place, see [ServerConfig.Wait].
	MaxStreams int

	// Rate bounds what passes for the users of all clients with this key, in
	// bytes per second and direction.
	Rate int64

	rights *rights // what Ports and Forwards say; nil before it is needed
}

// rights are a Grant's lists as they are asked. A nil list is no limit.
type rights struct {
	ports    *access.Ports
	forwards *access.Forwards
}

// noneAtAll is how a list says that nothing is on it.
const noneAtAll = "none"

// Check reports what is wrong with g, by field.
func (g Grant) Check() error {
	_, err := g.compile()
	return err
}

// MayPublish reports whether g lets port be a public one. The server's
// AllowPorts have to do so too.
func (g Grant) MayPublish(port uint16) bool {
	g, err := g.compile()
	return err == nil && (g.rights.ports == nil || g.rights.ports.Allows(port))
}

// MayForward reports whether g lets host, a name or an address without
// brackets, be reached through the server on port.
func (g Grant) MayForward(host string, port uint16) bool {
	g, err := g.compile()
	return err == nil && (g.rights.forwards == nil || g.rights.forwards.Allow(host, port))
}

// compile returns g with its rights, or says what is wrong.
func (g Grant) compile() (Grant, error) {
	if g.rights != nil {
		return g, nil
	}
	if g.Name != "" {
		if err := CheckKeyName(g.Name); err != nil {
			return g, err
		}
	}
	switch {
	case g.Key.IsZero():
		return g, errors.New("there is no key")
	case g.MaxStreams < 0:
		return g, fmt.Errorf("max-streams: %d is negative", g.MaxStreams)
	case g.Rate < 0:
		return g, fmt.Errorf("rate: %d is negative", g.Rate)
	}
	r := new(rights)
	switch g.Ports {
	case "":
	case noneAtAll:
		r.ports = new(access.Ports)
	default:
		ports, err := access.ParsePorts(g.Ports)
		if err != nil {
			return g, fmt.Errorf("ports: %w", err)
		}
		r.ports = &ports
	}
	switch g.Forwards {
	case "":
	case noneAtAll:
		r.forwards = new(access.Forwards)
	default:
		forwards, err := access.ParseForwards(g.Forwards)
		if err != nil {
			return g, fmt.Errorf("forward: %w", err)
		}
		r.forwards = &forwards
	}
	g.rights = r
	return g, nil
}

// CheckKeyName says what is wrong with the name of a key. It does not quote a key
// that was given in the place of its name.
func CheckKeyName(name string) error {
	if _, err := pool.ParseKey(name); err == nil && len(name) >= madeKey {
		return errors.New("that is a key, and a name for it is wanted")
	}
	letter := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9'
	}
	bad := strings.IndexFunc(name, func(r rune) bool { return !letter(r) && !strings.ContainsRune(".-_", r) })
	if name == "" || len(name) > maxKeyName || bad >= 0 || !letter(rune(name[0])) {
		return fmt.Errorf("%.80q is not a key's name: want 1 to %d letters, digits, dots, hyphens and underscores, the first no sign", name, maxKeyName)
	}
	return nil
}

const (
	maxKeyName = 64
	madeKey    = 43 // characters of a key as we make them
)

// label is what the log and a client's errors call the key.
func (g Grant) label() string {
	if g.Name == "" {
		return g.Key.ID().String()
	}
	return strconv.Quote(g.Name)
}

// plainLabel is label without quotes, which a name does not need: see CheckKeyName.
func (g Grant) plainLabel() string { return cmp.Or(g.Name, g.Key.ID().String()) }

// logLabel is label with the ID, by which a client knows its key.
func (g Grant) logLabel() string {
	if g.Name == "" {
		return g.Key.ID().String()
	}
	return g.label() + ", " + g.Key.ID().String()
}

// Keyring is who may join a server, for programs that change it while the server
// runs. It is safe for concurrent use, and may be several servers'.
type Keyring struct {
	mu      sync.Mutex // guards what follows
	grants  map[pool.KeyID]Grant
	changed chan struct{} // closed and replaced by Set
}

// NewKeyring makes a keyring; it may be empty. The error is [Keyring.Set]'s.
func NewKeyring(grants ...Grant) (*Keyring, error) {
	k := &Keyring{changed: make(chan struct{})}
	return k, k.Set(grants...)
}

// Set replaces all keys. What follows is the servers' to do at once: of a key
// that is no longer there sessions, connections and users end, and the ports are
// closed. Where Ports have become others, its clients are asked to join anew, and
// public ports that it may not have any more close; users being served stay. On
// an error, which names the key, nothing has changed: a grant does not pass
// [Grant.Check], or has the name or the key of another.
func (k *Keyring) Set(grants ...Grant) error {
	all := make(map[pool.KeyID]Grant, len(grants))
	names := make(map[string]bool, len(grants))
	for i, g := range grants {
		g, err := g.compile()
		switch {
		case err != nil && g.Name != "":
			return fmt.Errorf("key %q: %w", g.Name, err)
		case err != nil:
			return fmt.Errorf("key number %d: %w", i+1, err)
		case g.Name != "" && names[g.Name]:
			return fmt.Errorf("there are two keys called %q", g.Name)
		}
		if other, twice := all[g.Key.ID()]; twice {
			return fmt.Errorf("the keys %s and %s are the same", other.label(), g.label())
		}
		names[g.Name], all[g.Key.ID()] = true, g
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.grants = all
	close(k.changed)
	k.changed = make(chan struct{})
	return nil
}

// Lookup finds a key by its ID.
func (k *Keyring) Lookup(id pool.KeyID) (Grant, bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	g, ok := k.grants[id]
	return g, ok
}

// Len is how many keys there are.
func (k *Keyring) Len() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return len(k.grants)
}

// Grants returns them all, by name. The slice is the caller's own.
func (k *Keyring) Grants() []Grant {
	k.mu.Lock()
	defer k.mu.Unlock()
	return slices.SortedFunc(maps.Values(k.grants), func(a, b Grant) int { return strings.Compare(a.label(), b.label()) })
}

// Changed returns a channel that the next Set closes.
func (k *Keyring) Changed() <-chan struct{} {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.changed
}

// keyringOf makes a keyring of keys alone.
func keyringOf(keys []pool.Key) (*Keyring, error) {
	var grants []Grant
	seen := make(map[pool.KeyID]bool)
	for _, key := range keys {
		if !seen[key.ID()] {
			grants = append(grants, Grant{Key: key})
		}
		seen[key.ID()] = true
	}
	return NewKeyring(grants...)
}
