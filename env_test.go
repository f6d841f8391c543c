package pool

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestConfigFromEnv(t *testing.T) {
	for _, name := range []string{"ADDRESS", "MAX_OPEN", "CHECK_EVERY", "ORDER"} {
		t.Setenv("ENVTEST_"+name, map[string]string{
			"ADDRESS": "127.0.0.1:6379", "MAX_OPEN": "8", "CHECK_EVERY": "Never", "ORDER": "oldest-first",
		}[name])
	}
	t.Setenv("ENVTEST_MIN_CAP", "")
	t.Setenv("ENVTEST_PORT_6379_TCP_ADDR", "10.0.0.1") // as Kubernetes makes them
	got, err := ConfigFromEnv("ENVTEST")
	require.NoError(t, err)
	require.Equal(t, LocalConfig{
		Address: "127.0.0.1:6379", CheckEvery: -1, Limits: Limits{MaxOpen: 8, Order: OldestFirst},
	}, got)

	t.Setenv("ENVTEST_MAX_AGE", "30")
	_, err = ConfigFromEnv("ENVTEST")
	require.EqualError(t, err, `pool: ENVTEST_MAX_AGE is "30"; it must be a duration with a unit, as 30s, 5m or 1h30m`)
}

func TestEnvValues(t *testing.T) {
	for set, want := range map[string]LocalConfig{
		"":                              {},
		"ADDRESS=[::1]:22":              {Address: "[::1]:22"},
		"ADDRESS=/run/x.sock":           {}, // refused, below
		"MIN_CAP=none":                  {Limits: Limits{MinCap: -1}},
		"MIN_CAP=-3":                    {Limits: Limits{MinCap: -3}},
		"MAX_OPEN=NONE":                 {Limits: Limits{MaxOpen: -1}},
		"MAX_WAITERS=7":                 {Limits: Limits{MaxWaiters: 7}},
		"MAX_AGE=1h30m":                 {Limits: Limits{MaxAge: 90 * time.Minute}},
		"IDLE_TIMEOUT=0":                {},
		"MAX_USES=0":                    {},
		"CHECK_AT_GET=always":           {CheckAtGet: -1},
		"CHECK_AT_GET=0s":               {},
		"KEEP_ALIVE=none":               {KeepAlive: -1},
		"WHEN_FULL=overflow":            {Limits: Limits{WhenFull: OverflowWhenFull}},
		"WHEN_FULL=Fail":                {Limits: Limits{WhenFull: FailWhenFull}},
		"ORDER=newest-first":            {},
		"TLS=off":                       {},
		"NETWORK=unix ADDRESS=/run/x:y": {Network: "unix", Address: "/run/x:y"},
	} {
		var environ []string
		for _, s := range strings.Fields(set) {
			environ = append(environ, "P_"+s)
		}
		got, err := configFromEnv("P", environ)
		if set == "ADDRESS=/run/x.sock" {
			require.EqualError(t, err, `pool: P_ADDRESS is "/run/x.sock", a path, for which …_NETWORK must be unix; otherwise it must be host:port`)
			continue
		}
		require.NoError(t, err, set)
		require.Equal(t, want, got, set)
	}
}

func TestEnvMistakes(t *testing.T) {
	for _, c := range []struct{ set, want string }{
		{"P_MAX_OPEN=many", `P_MAX_OPEN is "many"; it must be a whole number, or none`},
		{"P_MAX_OPEN=0", `P_MAX_OPEN is "0"; write none, or leave it empty for the default`},
		{"P_MAX_OPEN=99999999999999999999", `P_MAX_OPEN is "99999999999999999999"; it must be a whole number, or none`},
		{"P_MAX_CAP=0", `P_MAX_CAP is "0"; it must be a whole number above 0`},
		{"P_MAX_USES=-1", `P_MAX_USES is "-1"; it must be a whole number, and not negative`},
		{"P_MAX_AGE=-1s", `P_MAX_AGE is "-1s"; it must be a duration, and not negative`},
		{"P_CHECK_EVERY=0s", `P_CHECK_EVERY is "0s"; write never, or leave it empty for the default`},
		{"P_CHECK_EVERY=30", `P_CHECK_EVERY is "30"; it must be a duration with a unit, as 30s, 5m or 1h30m, or never`},
		{"P_CONNECT_TIMEOUT=0s", `P_CONNECT_TIMEOUT is "0s"; it must be a duration above 0`},
		{"P_ORDER=lifo", `P_ORDER is "lifo"; it must be newest-first or oldest-first`},
		{"P_WHEN_FULL=\n", `P_WHEN_FULL is "\n"; it must be wait, fail or overflow`},
		{"P_NETWORK=udp", `P_NETWORK is "udp"; it must be tcp, tcp4, tcp6 or unix`},
		{"P_ADDRESS=localhost", `P_ADDRESS is "localhost"; it must be host:port`},
		{"P_ADDRESS=redis://:secret@host:1", `P_ADDRESS is a URL or has a user in it; it must be host:port alone`},
		{"P_TLS=maybe", `P_TLS is "maybe"; it must be on or off`},
		{"P_TLS_CA_FILE=ca.pem", `P_TLS_CA_FILE is set, and P_TLS is not on`},
		{"P_MAX_OPEN=" + strings.Repeat("x", 1000), `P_MAX_OPEN is "` + strings.Repeat("x", 100) + `…"; it must be a whole number, or none`},

		{"P_MAXOPEN=secret", `"P_MAXOPEN" is not known; did you mean P_MAX_OPEN?`},
		{"p_max_open=1", `"p_max_open" is not known; did you mean P_MAX_OPEN?`},
		{"P_MAX_OPEN_=1", `"P_MAX_OPEN_" is not known; did you mean P_MAX_OPEN?`},
		{"P__MAX_OPEN=1", `"P__MAX_OPEN" is not known; did you mean P_MAX_OPEN?`},
		{"PMAX_OPEN=1", `"PMAX_OPEN" is not known; did you mean P_MAX_OPEN?`},
		{"P_MAX_OPNE=1", `"P_MAX_OPNE" is not known; did you mean P_MAX_OPEN?`},
		{"P_MAX_OPENS=1", `"P_MAX_OPENS" is not known; did you mean P_MAX_OPEN?`},
		{"P_CHECK_EVER=1", `"P_CHECK_EVER" is not known; did you mean P_CHECK_EVERY?`},
		{"P_ADRESS=1", `"P_ADRESS" is not known; did you mean P_ADDRESS?`},
		{"P_MAX_ABE=1", `"P_MAX_ABE" is not known; did you mean P_MAX_AGE?`},
	} {
		_, err := configFromEnv("P", []string{"HOME=/root", c.set})
		require.EqualError(t, err, "pool: "+c.want, c.set)
	}
	for _, prefix := range []string{"", "_P", "P_", "A B", "P=", "Ü"} {
		_, err := configFromEnv(prefix, []string{prefix + "_MAX_OPEN=1"})
		require.ErrorContains(t, err, "is not of letters, digits and underscores", prefix)
	}
}

// TestEnvForeign: what other programs and other pools have in the environment
// is theirs.
func TestEnvForeign(t *testing.T) {
	got, err := configFromEnv("DB", []string{
		"DB_SERVICE_HOST=10.0.0.1", "DB_SERVICE_PORT=6379", "DB_PORT=tcp://10.0.0.1:6379", "DB_PORT_6379_TCP=tcp://10.0.0.1:6379",
		"DB_PORT_6379_TCP_PROTO=tcp", "DB_PORT_6379_TCP_ADDR=10.0.0.1", "DB_PASSWORD=x", "DB_USER=x", "DB_NAME=x", "DB_MAX_POOL=x",
		"DB2_MAX_OPEN=1", "DB_2_MAX_OPEN=1", "DB_READ_MAX_OPEN=1", "DBA_MAX_OPEN=1", "MAX_OPEN=1", "XDB_MAX_OPEN=1",
		"DB=1", "DB_=1", "D=1", "=C:=C:\\", "", "DB_MAXOPEN=", "DB_MAX_OPEN=5", "DB_MAX_OPEN=6",
	})
	require.NoError(t, err)
	require.Equal(t, LocalConfig{Limits: Limits{MaxOpen: 5}}, got, "of two, the one that os.Getenv answers")
}

func TestEnvTLS(t *testing.T) {
	dir := t.TempDir()
	cert, key, junk := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem"), filepath.Join(dir, "junk.pem")
	writePair(t, cert, key)
	require.NoError(t, os.WriteFile(junk, []byte("junk"), 0o600))
	parse := func(set ...string) (LocalConfig, error) {
		for i := range set {
			set[i] = "P_" + set[i]
		}
		return configFromEnv("P", append(set, "P_TLS=on"))
	}

	got, err := parse()
	require.NoError(t, err)
	require.NotNil(t, got.TLS)
	require.Nil(t, got.TLS.RootCAs, "the system's")
	got, err = parse("TLS_SERVER_NAME=db.example", "TLS_CA_FILE="+cert, "TLS_CERT_FILE="+cert, "TLS_KEY_FILE="+key)
	require.NoError(t, err)
	require.Equal(t, "db.example", got.TLS.ServerName)
	require.NotNil(t, got.TLS.RootCAs)
	require.Len(t, got.TLS.Certificates, 1)

	for set, want := range map[string]string{
		"TLS_CA_FILE=" + junk:                            "P_TLS_CA_FILE is ",
		"TLS_CA_FILE=" + dir + "/x":                      "P_TLS_CA_FILE: open ",
		"TLS_CERT_FILE=" + cert:                          "P_TLS_CERT_FILE is set, and P_TLS_KEY_FILE is not",
		"TLS_KEY_FILE=" + key:                            "P_TLS_KEY_FILE is set, and P_TLS_CERT_FILE is not",
		"TLS_CERT_FILE=" + junk + " TLS_KEY_FILE=" + key: "P_TLS_CERT_FILE and P_TLS_KEY_FILE: ",
	} {
		_, err := parse(strings.Fields(set)...)
		require.ErrorContains(t, err, want)
		require.NotContains(t, err.Error(), "\n")
	}
}

func writePair(t *testing.T, certFile, keyFile string) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	require.NoError(t, err)
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(certFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert}), 0o600))
	require.NoError(t, os.WriteFile(keyFile, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret}), 0o600))
}

// sampleOf is a value for each variable, none the field's zero.
func sampleOf(name string) string {
	for _, kind := range []struct{ sample, names string }{
		{"tcp4", "NETWORK"}, {"localhost:1", "ADDRESS"}, {"on", "TLS"}, {"oldest-first", "ORDER"}, {"fail", "WHEN_FULL"},
		{"3", "MIN_CAP MAX_CAP MAX_IDLE MAX_OPEN MAX_USES MAX_WAITERS MAX_DIALS"},
	} {
		for _, n := range strings.Fields(kind.names) {
			if n == name {
				return kind.sample
			}
		}
	}
	return "3s"
}

// fieldsOf are the fields of a configuration by name, those embedded included.
func fieldsOf(cfg LocalConfig) map[string]reflect.Value {
	fields := make(map[string]reflect.Value)
	v := reflect.ValueOf(cfg)
	for _, f := range reflect.VisibleFields(v.Type()) {
		if !f.Anonymous && f.IsExported() {
			fields[f.Name] = v.FieldByIndex(f.Index)
		}
	}
	return fields
}

// inCapitals is a field's name as a variable has it.
func inCapitals(field string) string {
	if field == strings.ToUpper(field) {
		return field
	}
	var name strings.Builder
	for i, r := range field {
		if i > 0 && r >= 'A' && r <= 'Z' {
			name.WriteByte('_')
		}
		name.WriteRune(r)
	}
	return strings.ToUpper(name.String())
}

// TestEnvHasEveryField: each field has the variable of its name, which sets it
// and nothing else, or is one that text cannot say.
func TestEnvHasEveryField(t *testing.T) {
	notText := map[string]bool{"Dial": true, "Setup": true, "Check": true, "Goodbye": true, "OnConn": true, "Logger": true}
	known := map[string]bool{}
	for _, v := range envVariables {
		require.False(t, known[v.name], "%s is there twice", v.name)
		known[v.name] = true
	}
	for field := range fieldsOf(LocalConfig{}) {
		name := inCapitals(field)
		if notText[field] {
			require.False(t, known[name], name)
			continue
		}
		require.True(t, known[name], "%s has no variable; add it to envVariables and docs/ENVIRONMENT.md", field)
		delete(known, name)
		cfg, err := configFromEnv("P", []string{"P_" + name + "=" + sampleOf(name)})
		require.NoError(t, err, name)
		for other, value := range fieldsOf(cfg) {
			require.Equal(t, other != field, value.IsZero(), "P_%s and %s", name, other)
		}
	}
	for name := range known {
		require.True(t, strings.HasPrefix(name, "TLS_"), "%s is of no field", name)
	}
}

// TestEnvironmentPage: docs/ENVIRONMENT.md has a row for each variable in the
// order in which they are read, with what NewLocal takes for one that is not set.
func TestEnvironmentPage(t *testing.T) {
	page, err := os.ReadFile("docs/ENVIRONMENT.md")
	require.NoError(t, err)
	rows := regexp.MustCompile("(?m)^\\| `([A-Z_]+)` \\| (.+?) \\| (.*?) ?\\| (.+) \\|$").FindAllStringSubmatch(string(page), -1)
	require.Equal(t, len(envVariables), len(rows), "rows of the table")

	cfg := LocalConfig{Address: "localhost:1"}
	require.NoError(t, cfg.fill())
	plan := cfg.planner()
	require.NoError(t, plan.fillPace())
	cfg.MinInterval, cfg.MaxInterval = plan.MinInterval, plan.MaxInterval
	cfg.Network = "tcp" // fill makes Dial of it
	filled := fieldsByVariable(cfg)
	require.Equal(t, 10, cfg.MaxOpen, "as the page says")

	ofAnother := map[string]string{"MAX_CAP": "`MAX_OPEN`", "MAX_IDLE": "`MAX_CAP`", "MAX_OPEN": "`MAX_CAP`, or `10` without it", "ADDRESS": ""}
	for i, v := range envVariables {
		name, unit, fallback := rows[i][1], rows[i][2], rows[i][3]
		require.Equal(t, v.name, name, "row %d", i+1)
		if strings.HasPrefix(name, "TLS") {
			continue
		}
		_, isDuration := filled[name].Interface().(time.Duration)
		require.Equal(t, isDuration, strings.HasPrefix(unit, "duration"), "%s: unit %s", name, unit)
		for _, word := range []string{"none", "never", "always"} {
			told := strings.Contains(unit, "`"+word+"`")
			require.Equal(t, told, v.parse(&envConfig{}, word) == nil, "%s and %s", name, word)
		}
		if other, found := ofAnother[name]; found {
			require.Equal(t, other, fallback, name)
			continue
		}
		var got envConfig
		require.NoError(t, v.parse(&got, strings.Trim(fallback, "`")), "%s: its default is no value", name)
		require.Equal(t, filled[name].Interface(), fieldsByVariable(got.LocalConfig)[name].Interface(), name)
	}
}

func fieldsByVariable(cfg LocalConfig) map[string]reflect.Value {
	fields := make(map[string]reflect.Value)
	for field, value := range fieldsOf(cfg) {
		fields[inCapitals(field)] = value
	}
	return fields
}

func TestOneSlip(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want bool
	}{
		{"", "", true}, {"A", "", true}, {"AB", "", false}, {"ABC", "ABC", true}, {"ABC", "AB", true}, {"ABC", "BC", true}, {"ABC", "AC", true},
		{"ABC", "ABX", true}, {"ABC", "XBC", true}, {"ABC", "AXC", true}, {"ABC", "ACB", true}, {"ABC", "BAC", true}, {"ABC", "CBA", false},
		{"ABC", "AXY", false}, {"ABCD", "ACBX", false}, {"MIN_CAP", "MAX_CAP", false},
	} {
		require.Equal(t, c.want, oneSlip(c.a, c.b), "%v", c)
		require.Equal(t, c.want, oneSlip(c.b, c.a), "%v", c)
	}
}

func FuzzConfigFromEnv(f *testing.F) {
	for _, v := range envVariables {
		f.Add("P", "P_"+v.name, sampleOf(v.name))
	}
	f.Add("P", "p_MAXOPEN", "1")
	f.Add("_", "__ADDRESS", "x@y")
	f.Add("P", "P_CHECK_EVERY", "-9223372036854775808ns")
	f.Fuzz(func(t *testing.T, prefix, name, value string) {
		if strings.HasSuffix(name, "_FILE") {
			return // reads whatever file is named
		}
		cfg, err := configFromEnv(prefix, []string{name + "=" + value, "P_TLS=on"})
		if err != nil {
			require.Zero(t, cfg.Limits)
			require.NotContains(t, err.Error(), "\n")
			require.Less(t, len(err.Error()), 1000+len(prefix)*4)
			return
		}
		again, err := configFromEnv(prefix, []string{name + "=" + value, "P_TLS=on"})
		require.NoError(t, err)
		require.Equal(t, cfg, again)
		_ = cfg.fill() // refuses or fills, whatever it is
	})
}
