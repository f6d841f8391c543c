package settings

import (
	"context"
	"fmt"
	"os"
	"slices"

	"github.com/knadh/koanf/providers/confmap"
	"github.com/knadh/koanf/providers/posflag"
	"github.com/knadh/koanf/v2"
	"github.com/spf13/pflag"
)

// delimiter is what koanf has between the levels of a name. Ours have one level,
// and no flag has a dot.
const delimiter = "."

// Settings are a command's flags and where their values came from. They do not
// change; [Settings.Again] makes others.
type Settings struct {
	// Path is the file; empty: there is none.
	Path string

	// Warnings are lines for the log.
	Warnings []string

	flags     *pflag.FlagSet // the command's
	file      *file          // nil: there is none
	variables *koanf.Koanf
}

// Load gives those flags of a command that were not given, and that are settings of
// the program's, the values that the environment and the file have for them. program
// are the program's own flags. The file may hold all of its settings; what the
// command has no flag for is checked and left alone.
func Load(flags, program *pflag.FlagSet) (*Settings, error) {
	var path, from string
	if f := flags.Lookup(ConfigFlag); f != nil && f.Changed {
		path, from = f.Value.String(), "--"+ConfigFlag
	} else if share(flags, program) { // else the file is of no use
		from = Variable(ConfigFlag)
		path = os.Getenv(from)
	}
	var data []byte
	if path != "" {
		var err error
		if data, err = Read(path); err != nil {
			return nil, fmt.Errorf("%s: %w", from, err)
		}
	}
	return load(flags, program, path, data)
}

// Again loads everything once more: from a command line that is the same, from the
// environment, and from the file's new content. define defines the program's flags
// in a set of its own; it is those that get the values.
func (s *Settings) Again(data []byte, define func(*pflag.FlagSet)) (*Settings, error) {
	fresh := pflag.NewFlagSet("", pflag.ContinueOnError)
	fresh.SortFlags = false
	define(fresh)
	var err error
	s.flags.Visit(func(given *pflag.Flag) {
		f := fresh.Lookup(given.Name)
		if f == nil || err != nil {
			return
		}
		err = fresh.Set(f.Name, given.Value.String()) // which also notes that it was given
		if list, ok := given.Value.(pflag.SliceValue); ok && err == nil {
			err = set(f, list.GetSlice())
		}
	})
	if err != nil {
		return nil, err
	}
	return load(fresh, fresh, s.Path, data)
}

func load(flags, program *pflag.FlagSet, path string, data []byte) (*Settings, error) {
	s := &Settings{Path: path, flags: flags, Warnings: misspelt(program)}
	all := koanf.New(delimiter)
	var err error
	if path != "" {
		if s.file, err = parse(path, data, program); err != nil {
			return nil, err
		}
		if err := all.Load(confmap.Provider(s.file.layer(program), delimiter), nil); err != nil {
			return nil, err
		}
	}
	if s.variables, err = variables(program); err != nil {
		return nil, err
	}
	if err := all.Merge(s.variables); err != nil {
		return nil, err
	}
	if err := all.Load(posflag.Provider(flags, delimiter, all), nil); err != nil {
		return nil, err
	}
	flags.VisitAll(func(f *pflag.Flag) {
		switch {
		case err != nil:
		case f.Changed:
			if bad := Check(f, f.Value.String()); isPath(f) && bad != nil {
				err = fmt.Errorf("--%s %w", f.Name, bad)
			}
		case s.elsewhere(f.Name):
			if bad := set(f, all.Get(f.Name)); bad != nil {
				err = s.Explain(fmt.Errorf("--%s: %w", f.Name, bad))
			}
		}
	})
	return s, err
}

// share tells that a command has settings of the program's.
func share(flags, program *pflag.FlagSet) (any bool) {
	flags.VisitAll(func(f *pflag.Flag) {
		any = any || isSetting(f) && isSetting(program.Lookup(f.Name))
	})
	return any
}

// elsewhere tells that a flag's value is from a variable or the file.
func (s *Settings) elsewhere(name string) bool {
	f := s.flags.Lookup(name)
	if !isSetting(f) || f.Changed {
		return false
	}
	return s.variables.Exists(name) || s.inFile(name)
}

func (s *Settings) inFile(name string) bool {
	if s.file == nil {
		return false
	}
	_, ok := s.file.entries[name]
	return ok
}

// Content is what the file holds that these settings are from.
func (s *Settings) Content() string {
	if s.file == nil {
		return ""
	}
	return s.file.data
}

// Differ are the settings, by their flags' names, that have other values in other,
// in the order of the flags. Both have the same flags.
func (s *Settings) Differ(other *Settings) (names []string) {
	s.flags.VisitAll(func(f *pflag.Flag) {
		o := other.flags.Lookup(f.Name)
		if isSetting(f) && o != nil && !slices.Equal(values(f), values(o)) {
			names = append(names, f.Name)
		}
	})
	return names
}

func values(f *pflag.Flag) []string {
	if list, ok := f.Value.(pflag.SliceValue); ok {
		return list.GetSlice()
	}
	return []string{f.Value.String()}
}

// contextKey is where a command's context has its settings.
type contextKey struct{}

// Into returns a context with s, for the command that it is given to.
func (s *Settings) Into(ctx context.Context) context.Context {
	return context.WithValue(ctx, contextKey{}, s)
}

// From returns the settings of a command's context; nil: there are none.
func From(ctx context.Context) *Settings {
	s, _ := ctx.Value(contextKey{}).(*Settings)
	return s
}
