package pool

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
)

// ConfigFromEnv makes the configuration of a single-ended pool from the
// environment. A variable's name is prefix, an underscore, and a field's name in
// capitals: with the prefix "REDIS_POOL", REDIS_POOL_ADDRESS is Address and
// REDIS_POOL_MAX_OPEN is Limits.MaxOpen. docs/ENVIRONMENT.md lists them.
//
// Durations are written with a unit: "30s", "1h30m". An empty variable counts
// as not set, and what is not set is left zero, for [NewLocal] to put its default
// in. Where a negative value says "none", "never" or "always", that word is
// taken too.
//
// What is set wrong is refused by an error that names the variable, and so is
// one with the prefix whose name is nearly known (case, an underscore too many
// or too few, one letter off). Others with the prefix are somebody else's.
//
// Hooks, Dial and Logger have no variable, and neither has a secret: the caller
// sets them in what is returned.
func ConfigFromEnv(prefix string) (LocalConfig, error) {
	return configFromEnv(prefix, os.Environ())
}

// configFromEnv is ConfigFromEnv in an environment of NAME=VALUE.
func configFromEnv(prefix string, environ []string) (LocalConfig, error) {
	if !plainName(prefix) {
		return LocalConfig{}, fmt.Errorf("pool: the prefix %q is not of letters, digits and underscores, and a letter or digit at both ends", prefix)
	}
	set, err := variablesOf(prefix, environ)
	if err != nil {
		return LocalConfig{}, err
	}
	var cfg envConfig
	for _, v := range envVariables {
		value := set[v.name]
		if value == "" {
			continue
		}
		if err := v.parse(&cfg, value); err != nil {
			return LocalConfig{}, fmt.Errorf("pool: %s_%s %w", prefix, v.name, err)
		}
	}
	if err := cfg.finish(prefix); err != nil {
		return LocalConfig{}, fmt.Errorf("pool: %w", err)
	}
	return cfg.LocalConfig, nil
}

// envConfig is a configuration on its way, with what several variables say
// together.
type envConfig struct {
	LocalConfig
	secure                                bool
	serverName, caFile, certFile, keyFile string
}

// envVariable is one variable. The errors of parse go on where its name ends.
type envVariable struct {
	name  string // without prefix
	parse func(cfg *envConfig, value string) error
}

// envVariables are all, in the order in which they are read.
var envVariables = []envVariable{
	{"NETWORK", envNetwork},
	{"ADDRESS", envAddress},
	{"TLS", func(c *envConfig, value string) error { return parseSwitch(&c.secure, value) }},
	{"TLS_SERVER_NAME", envText(func(c *envConfig) *string { return &c.serverName })},
	{"TLS_CA_FILE", envText(func(c *envConfig) *string { return &c.caFile })},
	{"TLS_CERT_FILE", envText(func(c *envConfig) *string { return &c.certFile })},
	{"TLS_KEY_FILE", envText(func(c *envConfig) *string { return &c.keyFile })},

	{"MIN_CAP", envCount(func(c *envConfig) *int { return &c.MinCap }, orWord("none"))},
	{"MAX_CAP", envCount(func(c *envConfig) *int { return &c.MaxCap }, positive)},
	{"MAX_IDLE", envCount(func(c *envConfig) *int { return &c.MaxIdle }, positive)},
	{"MAX_OPEN", envCount(func(c *envConfig) *int { return &c.MaxOpen }, orWord("none"))},
	{"IDLE_TIMEOUT", envDuration(func(c *envConfig) *time.Duration { return &c.IdleTimeout }, orZero)},
	{"MAX_AGE", envDuration(func(c *envConfig) *time.Duration { return &c.MaxAge }, orZero)},
	{"MAX_USES", envCount(func(c *envConfig) *int { return &c.MaxUses }, orZero)},
	{"ORDER", envChoice(func(c *envConfig) *Order { return &c.Order }, "newest-first", "oldest-first")},
	{"ACQUIRE_TIMEOUT", envDuration(func(c *envConfig) *time.Duration { return &c.AcquireTimeout }, orWord("none"))},
	{"MAX_WAITERS", envCount(func(c *envConfig) *int { return &c.MaxWaiters }, orWord("none"))},
	{"WHEN_FULL", envChoice(func(c *envConfig) *WhenFull { return &c.WhenFull }, "wait", "fail", "overflow")},

	{"CHECK_EVERY", envDuration(func(c *envConfig) *time.Duration { return &c.CheckEvery }, orWord("never"))},
	{"CHECK_AT_GET", envDuration(func(c *envConfig) *time.Duration { return &c.CheckAtGet }, span{zero: true, word: "always"})},
	{"CONNECT_TIMEOUT", envDuration(func(c *envConfig) *time.Duration { return &c.ConnectTimeout }, positive)},
	{"CHECK_TIMEOUT", envDuration(func(c *envConfig) *time.Duration { return &c.CheckTimeout }, positive)},
	{"GOODBYE_TIMEOUT", envDuration(func(c *envConfig) *time.Duration { return &c.GoodbyeTimeout }, positive)},
	{"KEEP_ALIVE", envDuration(func(c *envConfig) *time.Duration { return &c.KeepAlive }, orWord("none"))},
	{"MIN_INTERVAL", envDuration(func(c *envConfig) *time.Duration { return &c.MinInterval }, positive)},
	{"MAX_INTERVAL", envDuration(func(c *envConfig) *time.Duration { return &c.MaxInterval }, positive)},
	{"MAX_DIALS", envCount(func(c *envConfig) *int { return &c.MaxDials }, positive)},
}

// span says which values a number or a duration may have.
type span struct {
	zero bool   // 0 too, where it means none and not the default
	word string // stands for a negative value; "": those are refused
}

var positive, orZero = span{}, span{zero: true}

func orWord(word string) span { return span{word: word} }

// check refuses values outside, for what kind says in words.
func (s span) check(value int64, text, kind string) error {
	switch {
	case value > 0, value == 0 && s.zero, value < 0 && s.word != "":
		return nil
	case value == 0 && s.word != "":
		return fmt.Errorf("is %s; write %s, or leave it empty for the default", shown(text), s.word)
	case s.zero:
		return fmt.Errorf("is %s; it must be %s, and not negative", shown(text), kind)
	}
	return fmt.Errorf("is %s; it must be %s above 0", shown(text), kind)
}

func envCount(field func(*envConfig) *int, allowed span) func(*envConfig, string) error {
	return func(c *envConfig, value string) error {
		if allowed.word != "" && strings.EqualFold(value, allowed.word) {
			*field(c) = -1
			return nil
		}
		n, err := strconv.Atoi(value)
		if err != nil {
			return fmt.Errorf("is %s; it must be %s", shown(value), allowed.or("a whole number"))
		}
		*field(c) = n
		return allowed.check(int64(n), value, "a whole number")
	}
}

func envDuration(field func(*envConfig) *time.Duration, allowed span) func(*envConfig, string) error {
	return func(c *envConfig, value string) error {
		if allowed.word != "" && strings.EqualFold(value, allowed.word) {
			*field(c) = -1
			return nil
		}
		d, err := time.ParseDuration(value)
		if err != nil {
			return fmt.Errorf("is %s; it must be %s", shown(value), allowed.or("a duration with a unit, as 30s, 5m or 1h30m"))
		}
		*field(c) = d
		return allowed.check(int64(d), value, "a duration")
	}
}

// or adds the word to what is expected.
func (s span) or(kind string) string {
	if s.word == "" {
		return kind
	}
	return kind + ", or " + s.word
}

// envChoice is for a field whose values from 0 on have these names.
func envChoice[T ~uint8](field func(*envConfig) *T, names ...string) func(*envConfig, string) error {
	return func(c *envConfig, value string) error {
		i := slices.IndexFunc(names, func(name string) bool { return strings.EqualFold(name, value) })
		if i < 0 {
			return fmt.Errorf("is %s; it must be %s", shown(value), oneOf(names))
		}
		*field(c) = T(i)
		return nil
	}
}

func envText(field func(*envConfig) *string) func(*envConfig, string) error {
	return func(c *envConfig, value string) error {
		*field(c) = value
		return nil
	}
}

func envNetwork(c *envConfig, value string) error {
	known := []string{"tcp", "tcp4", "tcp6", "unix"}
	if !slices.Contains(known, value) {
		return fmt.Errorf("is %s; it must be %s", shown(value), oneOf(known))
	}
	c.Network = value
	return nil
}

// envAddress comes after envNetwork.
func envAddress(c *envConfig, value string) error {
	c.Address = value
	if c.Network == "unix" {
		return nil
	}
	if hasUser(value) {
		return errors.New("is a URL or has a user in it; it must be host:port alone")
	}
	if _, _, err := net.SplitHostPort(value); err != nil && strings.HasPrefix(value, "/") {
		return fmt.Errorf("is %s, a path, for which …_NETWORK must be unix; otherwise it must be host:port", shown(value))
	} else if err != nil {
		return fmt.Errorf("is %s; it must be host:port", shown(value))
	}
	return nil
}

func parseSwitch(to *bool, value string) error {
	switch strings.ToLower(value) {
	case "on", "true", "yes", "1":
		*to = true
	case "off", "false", "no", "0":
		*to = false
	default:
		return fmt.Errorf("is %s; it must be on or off", shown(value))
	}
	return nil
}

// finish makes what several variables say together. Its errors begin with a
// variable's name.
func (c *envConfig) finish(prefix string) error {
	for _, v := range []struct{ name, value string }{
		{"TLS_SERVER_NAME", c.serverName}, {"TLS_CA_FILE", c.caFile}, {"TLS_CERT_FILE", c.certFile}, {"TLS_KEY_FILE", c.keyFile},
	} {
		if v.value != "" && !c.secure {
			return fmt.Errorf("%s_%s is set, and %[1]s_TLS is not on", prefix, v.name)
		}
	}
	if !c.secure {
		return nil
	}
	c.TLS = &tls.Config{ServerName: c.serverName}
	if c.caFile != "" {
		text, err := os.ReadFile(c.caFile)
		if err != nil {
			return fmt.Errorf("%s_TLS_CA_FILE: %w", prefix, err)
		}
		c.TLS.RootCAs = x509.NewCertPool()
		if !c.TLS.RootCAs.AppendCertsFromPEM(text) {
			return fmt.Errorf("%s_TLS_CA_FILE is %s, in which there is no certificate in PEM", prefix, shown(c.caFile))
		}
	}
	switch {
	case c.certFile == "" && c.keyFile == "":
		return nil
	case c.keyFile == "":
		return fmt.Errorf("%s_TLS_CERT_FILE is set, and %[1]s_TLS_KEY_FILE is not", prefix)
	case c.certFile == "":
		return fmt.Errorf("%s_TLS_KEY_FILE is set, and %[1]s_TLS_CERT_FILE is not", prefix)
	}
	pair, err := tls.LoadX509KeyPair(c.certFile, c.keyFile)
	if err != nil {
		return fmt.Errorf("%s_TLS_CERT_FILE and %[1]s_TLS_KEY_FILE: %w", prefix, err)
	}
	c.TLS.Certificates = []tls.Certificate{pair}
	return nil
}

// shown is a value as an error shows it.
func shown(value string) string {
	const most = 100
	if len(value) > most {
		value = value[:most] + "…"
	}
	return strconv.Quote(value)
}

func oneOf(names []string) string {
	last := len(names) - 1
	return strings.Join(names[:last], ", ") + " or " + names[last]
}
