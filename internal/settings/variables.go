package settings

import (
	"fmt"
	"os"
	"strings"

	"github.com/knadh/koanf/providers/env/v2"
	"github.com/knadh/koanf/v2"
	"github.com/spf13/pflag"

	"github.com/tunnelpool/pool/internal/spelling"
)

// Prefix is in front of all variables.
const Prefix = "TUNNEL_"

// keyVariable holds a key itself, and is no setting.
const keyVariable = Prefix + "KEY"

// Variable is the environment variable of a flag.
func Variable(flag string) string {
	return Prefix + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}

// variables reads the settings of the environment. An empty variable counts as
// not given.
func variables(program *pflag.FlagSet) (*koanf.Koanf, error) {
	flags := make(map[string]*pflag.Flag) // by variable
	for _, name := range Names(program) {
		flags[Variable(name)] = program.Lookup(name)
	}
	var wrong error
	read := func(variable, text string) (string, any) {
		f := flags[variable]
		if f == nil || strings.TrimSpace(text) == "" {
			return "", nil
		}
		if repeatable(f) {
			return f.Name, several(text)
		}
		if err := Check(f, text); err != nil && wrong == nil {
			wrong = fmt.Errorf("%s: %w", variable, err)
		}
		return f.Name, text
	}
	k := koanf.New(delimiter)
	if err := k.Load(env.Provider(delimiter, env.Opt{Prefix: Prefix, TransformFunc: read}), nil); err != nil {
		return nil, err
	}
	return k, wrong
}

// several are the values of a repeatable flag in one variable: one a line, or
// with spaces between them if there is but one line.
func several(text string) (values []string) {
	if !strings.Contains(text, "\n") {
		return strings.Fields(text)
	}
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); line != "" {
			values = append(values, line)
		}
	}
	return values
}

// misspelt finds variables that nobody reads and that look like one of ours. All
// others are other programs' business.
func misspelt(program *pflag.FlagSet) (warnings []string) {
	names := []string{ConfigFlag}
	names = append(names, Names(program)...)
	for _, pair := range os.Environ() {
		variable, text, _ := strings.Cut(pair, "=")
		rest, ours := strings.CutPrefix(variable, Prefix)
		if !ours || variable == keyVariable || text == "" {
			continue
		}
		if name := spelling.Nearest(rest, names, 1); name != "" && Variable(name) != variable {
			warnings = append(warnings, fmt.Sprintf("There is no variable %s; is %s meant?", variable, Variable(name)))
		}
	}
	return warnings
}
