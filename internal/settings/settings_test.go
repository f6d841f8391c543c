package settings

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// program has a flag of every kind.
type program struct {
	name, ports, cert, dir string
	most                   int
	wait                   time.Duration
	loud                   bool
	reverse, from          []string
}

func (p *program) add(fl *pflag.FlagSet) {
	fl.StringVar(&p.name, "name", "nobody", "")
	fl.StringVar(&p.ports, "allow-ports", "80", "")
	fl.StringVar(&p.cert, "tls-cert", "", "")
	fl.StringVar(&p.dir, "state-dir", "", "")
	fl.IntVar(&p.most, "pool-max", 512, "")
	fl.DurationVar(&p.wait, "wait", time.Second, "")
	fl.BoolVar(&p.loud, "loud", false, "")
	fl.StringArrayVarP(&p.reverse, "reverse", "R", nil, "")
	fl.StringArrayVar(&p.from, "allow-from", nil, "")
	Files(fl, "tls-cert")
	Directories(fl, "state-dir")
	CommaList(fl, "allow-ports", "reverse", "allow-from")
}

// flags are a command line of the program.
func (p *program) flags(t testing.TB, args ...string) *pflag.FlagSet {
	fl := pflag.NewFlagSet("program", pflag.ContinueOnError)
	fl.SortFlags = false
	p.add(fl)
	fl.String(ConfigFlag, "", "")
	require.NoError(t, fl.Parse(args))
	return fl
}

// write makes a file and returns its name.
func write(t testing.TB, text string) string {
	path := filepath.Join(t.TempDir(), "conf.yaml")
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	return path
}

func loaded(t testing.TB, args ...string) (program, *Settings) {
	var p program
	fl := p.flags(t, args...)
	s, err := Load(fl, fl)
	require.NoError(t, err)
	return p, s
}

// TestPrecedence: flag, variable, file, default; and what is higher replaces all
// that is lower.
func TestPrecedence(t *testing.T) {
	path := write(t, "name: file\nallow-ports: 81\npool-max: 1\nwait: 1m\nloud: true\nreverse: [a, b]\nallow-from:\n  x: 10.0.0.0/8\n")
	p, s := loaded(t)
	require.Equal(t, program{name: "nobody", ports: "80", most: 512, wait: time.Second}, p)
	require.Empty(t, s.Path)

	p, _ = loaded(t, "--config", path)
	require.Equal(t, program{name: "file", ports: "81", most: 1, wait: time.Minute, loud: true, reverse: []string{"a", "b"}, from: []string{"x=10.0.0.0/8"}}, p)

	for name, value := range map[string]string{"NAME": "variable", "POOL_MAX": "2", "WAIT": "2m", "LOUD": "false", "REVERSE": "c"} {
		t.Setenv("TUNNEL_"+name, value)
	}
	t.Setenv("TUNNEL_CONFIG", path)
	p, s = loaded(t)
	require.Equal(t, program{name: "variable", ports: "81", most: 2, wait: 2 * time.Minute, reverse: []string{"c"}, from: []string{"x=10.0.0.0/8"}}, p)
	require.Equal(t, path, s.Path)

	p, _ = loaded(t, "--name=flag", "--pool-max=3", "--wait=3m", "--loud", "-Rd", "-Re", "--allow-from=::/0", "--allow-ports=82")
	require.Equal(t, program{name: "flag", ports: "82", most: 3, wait: 3 * time.Minute, loud: true, reverse: []string{"d", "e"}, from: []string{"::/0"}}, p)

	other := write(t, "name: other\nallow-ports: 83\n")
	p, s = loaded(t, "--config", other)
	require.Equal(t, "83", p.ports, "the flag names another file")
	require.Equal(t, "variable", p.name)
	require.Equal(t, other, s.Path)
}

func TestVariables(t *testing.T) {
	require.Equal(t, "TUNNEL_POOL_MAX", Variable("pool-max"))
	t.Setenv("TUNNEL_NAME", "")
	t.Setenv("TUNNEL_POOL_MAX", " ")
	t.Setenv("TUNNEL_CONFIG", "")
	for text, want := range map[string][]string{
		"":                           nil,
		"a=1:2":                      {"a=1:2"},
		" a=1:2  b=3:4 ":             {"a=1:2", "b=3:4"},
		"a=1:2\nmy web=3:4\n\nc\r\n": {"a=1:2", "my web=3:4", "c"},
		"my web=1:2\n":               {"my web=1:2"},
	} {
		t.Setenv("TUNNEL_REVERSE", text)
		p, _ := loaded(t)
		require.Equal(t, want, p.reverse, "%q", text)
		require.Equal(t, "nobody", p.name, "an empty variable counts as not given")
		require.False(t, p.loud)
		require.Equal(t, 512, p.most)
	}
}

func TestTruth(t *testing.T) {
	for text, want := range map[string]bool{"1": true, "true": true, "TRUE": true, "0": false, "false": false} {
		t.Setenv("TUNNEL_LOUD", text)
		p, _ := loaded(t)
		require.Equal(t, want, p.loud, text)
	}
}

// TestVariablesOfOthers: what Kubernetes and Docker set for a service called
// "tunnel" is no setting, and what looks like one is told.
func TestVariablesOfOthers(t *testing.T) {
	for _, pair := range []string{
		"SERVICE_HOST=10.0.0.1", "SERVICE_PORT=80", "SERVICE_PORT_HTTP=80", "PORT=tcp://10.0.0.1:80", "PORT_80_TCP=tcp://10.0.0.1:80",
		"PORT_80_TCP_PROTO=tcp", "PORT_80_TCP_ADDR=10.0.0.1", "ENV_HOME=/root", "TOKEN=x", "KEY=x", "SERVER=", "pool-max=x",
	} {
		name, value, _ := strings.Cut(pair, "=")
		t.Setenv("TUNNEL_"+name, value)
	}
	_, s := loaded(t)
	require.Equal(t, []string{"There is no variable TUNNEL_pool-max; is TUNNEL_POOL_MAX meant?"}, s.Warnings)
	os.Unsetenv("TUNNEL_pool-max")
	t.Setenv("TUNNEL_POOLMAX", "1")
	t.Setenv("TUNNEL_ALLOW_PROTS", "1")
	p, s := loaded(t)
	require.ElementsMatch(t, []string{"There is no variable TUNNEL_POOLMAX; is TUNNEL_POOL_MAX meant?", "There is no variable TUNNEL_ALLOW_PROTS; is TUNNEL_ALLOW_PORTS meant?"}, s.Warnings)
	require.Equal(t, 512, p.most)
}

func TestFileForms(t *testing.T) {
	for text, want := range map[string]func(*program){
		"# nothing but a comment\n":                          func(*program) {},
		"---\nname: yes\n":                                   func(p *program) { p.name = "yes" },
		"name: 'a: b'":                                       func(p *program) { p.name = "a: b" },
		"allow-ports: 8080":                                  func(p *program) { p.ports = "8080" },
		"allow-ports: [80, 9000-9999]":                       func(p *program) { p.ports = "80,9000-9999" },
		"allow-ports:\n- 80\n- 81":                           func(p *program) { p.ports = "80,81" },
		"reverse: 8080:3000":                                 func(p *program) { p.reverse = []string{"8080:3000"} },
		"reverse: [8080:3000, web=81:82]":                    func(p *program) { p.reverse = []string{"8080:3000", "web=81:82"} },
		"reverse: {web: 8080:3000, ssh: \"22:22\"}":          func(p *program) { p.reverse = []string{"web=8080:3000", "ssh=22:22"} },
		"reverse:\n  my web: [8080:3001, 3002]":              func(p *program) { p.reverse = []string{"my web=8080:3001,3002"} },
		"allow-from: 10.0.0.0/8":                             func(p *program) { p.from = []string{"10.0.0.0/8"} },
		"allow-from:\n  a: 10.0.0.0/8\n  b: ['::/0', '::1']": func(p *program) { p.from = []string{"a=10.0.0.0/8", "b=::/0,::1"} },
		"allow-from: [[10.0.0.0/8, '::/0'], web=::1]":        func(p *program) { p.from = []string{"10.0.0.0/8,::/0", "web=::1"} },
		"pool-max: 0x10\nwait: 1m30s\nloud: true":            func(p *program) { p.most, p.wait, p.loud = 16, 90*time.Second, true },
		"\ufeffpool-max: 7 # from Windows\r\nloud: true\r":   func(p *program) { p.most, p.loud = 7, true },
	} {
		p, s := loaded(t, "--config", write(t, text))
		wanted := program{name: "nobody", ports: "80", most: 512, wait: time.Second}
		want(&wanted)
		require.Equal(t, wanted, p, text)
		require.Equal(t, text, s.Content())
	}
}

// TestPathsInFile are relative to the file's directory, and those of flags and
// variables to the current one.
func TestPathsInFile(t *testing.T) {
	path := write(t, "tls-cert: cert.pem\nstate-dir: /srv/../srv\nname: plain.pem\n")
	p, _ := loaded(t, "--config", path)
	require.Equal(t, filepath.Join(filepath.Dir(path), "cert.pem"), p.cert)
	require.Equal(t, "/srv/../srv", p.dir)
	require.Equal(t, "plain.pem", p.name)
	t.Setenv("TUNNEL_TLS_CERT", "cert.pem")
	p, _ = loaded(t, "--config", path)
	require.Equal(t, "cert.pem", p.cert)
	t.Chdir(filepath.Dir(path))
	t.Setenv("TUNNEL_TLS_CERT", "")
	p, _ = loaded(t, "--config", "conf.yaml")
	require.Equal(t, "cert.pem", p.cert)
}

func TestWrongFiles(t *testing.T) {
	for text, want := range map[string]string{
		"TUNNEL_KEY: x":                    "PATH:1: a key does not stand in this file: put it into one of its own",
		"":                                 "PATH is empty; write settings into it, or a comment if there are to be none",
		" \n\n":                            "PATH is empty; write settings",
		"name":                             "PATH:1: want settings, one a line, as in pool-max: 64",
		"# x\n- name: a":                   "PATH:2: want settings, one a line, as in pool-max: 64",
		"nmae: a":                          `PATH:1: unknown setting "nmae"; did you mean "name"?`,
		"name: a\nallow_ports: 1":          `PATH:2: unknown setting "allow_ports"; did you mean "allow-ports"?`,
		"name: a\n--pool-max: 1":           `PATH:2: unknown setting "--pool-max"; did you mean "pool-max"?`,
		"R: 1:2":                           `PATH:1: unknown setting "R"; did you mean "reverse"?`,
		"password: x":                      `PATH:1: unknown setting "password"; --help shows the flags, and they are the settings`,
		strings.Repeat("n", 300) + ": x":   "PATH:1: unknown setting a value of 300 bytes; --help",
		"help: true":                       `PATH:1: unknown setting "help"; `,
		"config: x":                        "PATH:1: config is for the command line, or for TUNNEL_CONFIG; a file does not name another",
		"name: a\nkey: x":                  "PATH:2: a key does not stand in this file: put it into one of its own, and give the name of that as key-file",
		"? [a]\n: b":                       "PATH:1: the name of a setting is wanted here",
		"~: b":                             "PATH:1: the name of a setting is wanted here",
		"name: a\nwait: 1s\nname: b":       "PATH:3: name is there twice, first in line 1",
		"name:":                            "PATH:1: name: has no value: give it one, or leave it out",
		"name: ''":                         "PATH:1: name: has no value",
		"name: [a, b]":                     "PATH:1: name: want one value here",
		"name: {a: b}":                     "PATH:1: name: want one value here",
		"name: |\n  a\n  b":                "PATH:1: name: want one line here",
		"allow-ports: {a: b}":              "PATH:1: allow-ports: want one value here, or a list of them",
		"allow-ports: []":                  "PATH:1: allow-ports: want one value here, or a list of them",
		"allow-ports:\n- 80\n- [81]":       "PATH:3: allow-ports: want one value here",
		"pool-max: ten":                    `PATH:1: pool-max: "ten" is not a whole number`,
		"pool-max: 1.5":                    `PATH:1: pool-max: "1.5" is not a whole number`,
		"pool-max: 99999999999999999999":   `PATH:1: pool-max: "99999999999999999999" is not a whole number`,
		"name: a\nwait: 5":                 `PATH:2: wait: "5" is not a time with its unit, as in 500ms, 5s or 2m`,
		"loud: yes":                        `PATH:1: loud: "yes" is neither true nor false`,
		"reverse:":                         "PATH:1: reverse: has no value",
		"reverse: []":                      "PATH:1: reverse: has no value",
		"reverse: {}":                      "PATH:1: reverse: has no value",
		"reverse:\n  - a\n  -":             "PATH:3: reverse: has no value",
		"reverse:\n  web:":                 "PATH:2: reverse: has no value",
		"reverse:\n  a: 1:2\n  a: 1:3":     `PATH:3: reverse: "a" is there twice`,
		"reverse:\n  a=b: 1:2":             `PATH:2: reverse: "a=b" is a name, and cannot have an =`,
		"reverse:\n  a:\n    b: c":         "PATH:3: reverse: want one value here, or a list of them",
		"reverse:\n  [a]: b":               "PATH:2: reverse: want one value here",
		"name: &x a\nreverse: *x":          "PATH:1: name: anchors and aliases are not for this file; write the value out",
		"reverse: [&x a, *x]":              "PATH:1: reverse: anchors and aliases are not for this file",
		"<<: {name: a}":                    `PATH:1: unknown setting "<<"`,
		"name: !secret a":                  "PATH:1: name: tags are not for this file; write the value alone",
		"name: a\n---\nname: b":            "PATH:2: the file should end here, and there is one more document",
		"reverse:\n\t- a":                  "PATH:2: a tab in front of the text; YAML wants spaces there",
		"name: \"a":                        "PATH:1: near this line the file is no YAML: found unexpected end of stream",
		"name: a\n  wait: 1s":              "PATH:2: near this line the file is no YAML: mapping values are not allowed in this context",
		"name: \xff":                       "PATH:1: a control character, or a byte that is no UTF-8",
		"name: a\x07":                      "PATH:1: a control character, or a byte that is no UTF-8",
		"tls-cert: '-----BEGIN X'":         "PATH:1: tls-cert: wants the name of a file, and not what is in it",
		"#" + strings.Repeat("x", MaxFile): fmt.Sprintf("--config: PATH is larger than %d bytes", MaxFile),
		bomb:                               "PATH:3: reverse: anchors and aliases are not for this file",
	} {
		t.Run(fmt.Sprintf("%.40q", text), func(t *testing.T) {
			path := write(t, text)
			var p program
			fl := p.flags(t, "--config", path)
			_, err := Load(fl, fl)
			require.Error(t, err)
			require.NotContains(t, err.Error(), "\n")
			require.Contains(t, strings.ReplaceAll(err.Error(), path, "PATH"), want)
			require.True(t, strings.HasPrefix(err.Error(), path) || strings.HasPrefix(err.Error(), "--config: "), "%s", err)
		})
	}
}

// bomb grows by ten with each line, where aliases are followed.
const bomb = `name: x
reverse:
- &a [x,x,x,x,x,x,x,x,x,x]
- &b [*a,*a,*a,*a,*a,*a,*a,*a,*a,*a]
- &c [*b,*b,*b,*b,*b,*b,*b,*b,*b,*b]
`

func TestWrongPlaces(t *testing.T) {
	dir := t.TempDir()
	for path, want := range map[string]string{
		dir:                        "--config: " + dir + " is a directory, and a YAML file is wanted",
		filepath.Join(dir, "none"): "--config: open " + filepath.Join(dir, "none") + ": no such file or directory",
	} {
		var p program
		fl := p.flags(t, "--config", path)
		_, err := Load(fl, fl)
		require.EqualError(t, err, want)
	}
	t.Setenv("TUNNEL_CONFIG", dir)
	var p program
	_, err := Load(p.flags(t), p.flags(t))
	require.EqualError(t, err, "TUNNEL_CONFIG: "+dir+" is a directory, and a YAML file is wanted")
}

func TestWrongVariables(t *testing.T) {
	for pair, want := range map[string]string{
		"TUNNEL_POOL_MAX=many": `TUNNEL_POOL_MAX: "many" is not a whole number`,
		"TUNNEL_WAIT=5":        `TUNNEL_WAIT: "5" is not a time with its unit, as in 500ms, 5s or 2m`,
		"TUNNEL_LOUD=on":       `TUNNEL_LOUD: "on" is neither true nor false`,
		"TUNNEL_TLS_CERT=a\nb": "TUNNEL_TLS_CERT: wants the name of a file, and not what is in it",
	} {
		name, value, _ := strings.Cut(pair, "=")
		t.Setenv(name, value)
		var p program
		fl := p.flags(t)
		_, err := Load(fl, fl)
		require.EqualError(t, err, want)
		os.Unsetenv(name)
	}
	var p program
	fl := p.flags(t, "--tls-cert", "-----BEGIN PRIVATE KEY-----")
	_, err := Load(fl, fl)
	require.EqualError(t, err, "--tls-cert wants the name of a file, and not what is in it")
}

// TestCommands: those below the root get what they have flags for, unless the flag
// means something else there.
func TestCommands(t *testing.T) {
	var p program
	root := p.flags(t)
	sub := pflag.NewFlagSet("sub", pflag.ContinueOnError)
	name, most := sub.String("name", "", ""), sub.Int("pool-max", 0, "")
	rate := sub.String("rate", "", "")
	sub.String(ConfigFlag, "", "")
	CommandOnly(sub, "pool-max")
	require.NoError(t, sub.Parse([]string{"--config", write(t, "name: a\npool-max: 7\nwait: 1s\n")}))
	t.Setenv("TUNNEL_RATE", "5")
	_, err := Load(sub, root)
	require.NoError(t, err)
	require.Equal(t, "a", *name)
	require.Zero(t, *most)
	require.Empty(t, *rate, "the program has no such setting")
	require.Equal(t, "nobody", p.name, "the root does not run")

	require.NoError(t, sub.Set(ConfigFlag, write(t, "name: a\npool-max: x\n")))
	_, err = Load(sub, root)
	require.ErrorContains(t, err, `conf.yaml:2: pool-max: "x" is not a whole number`)
}

func TestExplain(t *testing.T) {
	path := write(t, "pool-max: 3\nreverse:\n- a=1:2\n- b=x\nallow-ports: 8080\n")
	t.Setenv("TUNNEL_WAIT", "2s")
	_, s := loaded(t, "--config", path, "--name", "me")
	for text, want := range map[string]string{
		"--pool-max 3: want less":                  path + ":1: pool-max 3: want less",
		"--wait 2s: want more":                     "TUNNEL_WAIT 2s: want more",
		"--name: bad":                              "--name: bad",
		"--pool-max 3 is above --wait":             path + ":1: pool-max 3 is above TUNNEL_WAIT",
		"--wait 2s with --pool-max 3":              path + ":1: TUNNEL_WAIT 2s with pool-max 3",
		`-R "b=x": malformed`:                      path + `:4: reverse "b=x": malformed`,
		`-R "x": malformed`:                        path + `:4: reverse "x": malformed`,
		`-R "a=1:2": no`:                           path + `:3: reverse "a=1:2": no`,
		`-R "c": no`:                               path + `:2: reverse "c": no`,
		"-R: is there twice":                       path + `:2: reverse: is there twice`,
		"no place; give one with --state-dir":      "no place; give one with --state-dir",
		"port taken (choose with --allow-ports)":   path + ":5: port taken (choose with allow-ports)",
		`--name "--pool-max \" --wait": bad`:       `--name "--pool-max \" --wait": bad`,
		"--pool-max-interval, x--pool-max --x -Rx": "--pool-max-interval, x--pool-max --x -Rx",
		"nothing": "nothing",
	} {
		err := s.Explain(fmt.Errorf("%s%w", text, errors.New("")))
		require.EqualError(t, err, want)
	}
	require.ErrorIs(t, s.Explain(fmt.Errorf("--wait: %w", context.Canceled)), context.Canceled)
	require.NoError(t, s.Explain(nil))
	var none *Settings
	require.ErrorIs(t, none.Explain(context.Canceled), context.Canceled)
	require.Same(t, s, From(s.Into(context.Background())))
	require.Nil(t, From(context.Background()))
}

// TestAgain: the same command line, with what variables and the file say now.
func TestAgain(t *testing.T) {
	path := write(t, "name: a\npool-max: 3\nreverse: [a, b]\nwait: 2s\n")
	_, s := loaded(t, "--config", path, "--wait", "1m30s", "--allow-from", "x,y", "--allow-from", "z", "--loud")
	var p program
	next, err := s.Again([]byte("name: b\nreverse: [c]\nwait: 3s\nallow-from: [w]\n"), p.add)
	require.NoError(t, err)
	require.Equal(t, program{name: "b", ports: "80", most: 512, wait: 90 * time.Second, loud: true, reverse: []string{"c"}, from: []string{"x,y", "z"}}, p)
	require.Equal(t, []string{"name", "pool-max", "reverse"}, s.Differ(next))
	require.Empty(t, next.Differ(next))

	var q program
	third, err := next.Again([]byte("name: b\npool-max: 9"), q.add)
	require.NoError(t, err)
	require.Equal(t, 9, q.most)
	require.Equal(t, []string{"pool-max", "reverse"}, next.Differ(third))

	_, err = third.Again([]byte("name: b\npol-max: 9"), new(program).add)
	require.EqualError(t, err, path+`:2: unknown setting "pol-max"; did you mean "pool-max"?`)
}

// FuzzFile: whatever a file holds, it is taken or refused in one line.
func FuzzFile(f *testing.F) {
	for _, seed := range []string{"", "name: a", "reverse: {a: [1, 2]}", "reverse: [a, [b]]", "name: &x a", "a: *x", bomb, "? [a]\n: b", "%YAML 1.1\n---\nname: a", "name: !!binary aGk=", "\ttab: 1", "name: |\n  a"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var p program
		fl := pflag.NewFlagSet("program", pflag.ContinueOnError)
		p.add(fl)
		s, err := load(fl, fl, "conf.yaml", data)
		if err != nil {
			require.Regexp(t, `^conf\.yaml( is empty|:[1-9][0-9]*: )`, err.Error())
			require.NotContains(t, err.Error(), "\n")
			return
		}
		require.Equal(t, string(data), s.Content())
		for _, text := range append(append([]string{p.name, p.ports, p.cert}, p.reverse...), p.from...) {
			require.NotContains(t, text, "\n")
		}
	})
}
