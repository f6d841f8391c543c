package settings

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/pflag"
	"go.yaml.in/yaml/v3"

	"github.com/tunnelpool/pool/internal/spelling"
	"github.com/tunnelpool/pool/internal/watch"
	"github.com/tunnelpool/pool/internal/yamldoc"
)

// MaxFile bounds a configuration file, in bytes.
const MaxFile = 1 << 20

// file is a configuration file.
type file struct {
	path    string
	data    string
	entries map[string]entry // by setting
}

// entry is a setting as it stands in the file.
type entry struct {
	line   int
	values []value // one, unless the flag is repeatable
}

type value struct {
	text string // as on a command line
	line int
}

// Read returns what the file of that name holds, with bounds. Errors name the
// file.
func Read(path string) ([]byte, error) {
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		return nil, fmt.Errorf("%s is a directory, and a YAML file is wanted", path)
	}
	return watch.Bounded(path, MaxFile)
}

// parse reads the text of a file. Its errors begin with path and line.
func parse(path string, data []byte, program *pflag.FlagSet) (*file, error) {
	if len(strings.TrimSpace(string(data))) == 0 {
		return nil, fmt.Errorf("%s is empty; write settings into it, or a comment if there are to be none", path)
	}
	f := &file{path: path, data: string(data), entries: make(map[string]entry)}
	top, err := yamldoc.Parse(data, "want settings, one a line, as in pool-max: 64")
	for i := 0; err == nil && top != nil && i < len(top.Content); i += 2 {
		err = f.add(top.Content[i], top.Content[i+1], program)
	}
	if err == nil {
		return f, nil
	}
	var at *yamldoc.Error
	if errors.As(err, &at) {
		err = fmt.Errorf("%s: %w", place(path, at.Line), at.Err)
		if at.Near {
			err = fmt.Errorf("%s: near this line the file is no YAML: %w", place(path, at.Line), at.Err)
		}
	}
	return nil, err
}

func place(path string, line int) string { return fmt.Sprintf("%s:%d", path, line) }

// add takes one setting.
func (f *file) add(name, content *yaml.Node, program *pflag.FlagSet) error {
	if name.Kind != yaml.ScalarNode || yamldoc.IsNull(name) {
		return yamldoc.Wrong(name, "the name of a setting is wanted here")
	}
	flag := program.Lookup(name.Value)
	switch {
	case keyNames[strings.ToLower(name.Value)]:
		return yamldoc.Wrong(name, "a key does not stand in this file: put it into one of its own, and give the name of that as key-file")
	case name.Value == ConfigFlag:
		return yamldoc.Wrong(name, "config is for the command line, or for %s; a file does not name another", Variable(ConfigFlag))
	case !isSetting(flag):
		return yamldoc.Wrong(name, "unknown setting %s%s", quoted(name.Value), meant(name.Value, program))
	}
	if first, twice := f.entries[flag.Name]; twice {
		return yamldoc.Wrong(name, "%s is there twice, first in line %d", flag.Name, first.line)
	}
	e := entry{line: name.Line}
	var err error
	if repeatable(flag) {
		e.values, err = many(flag, content)
	} else {
		e.values, err = one(flag, content)
	}
	for i := range e.values {
		if err == nil {
			if err = Check(flag, e.values[i].text); err != nil {
				err = &yamldoc.Error{Line: e.values[i].line, Err: err}
			}
		}
		if p := e.values[i].text; isPath(flag) && !filepath.IsAbs(p) {
			e.values[i].text = filepath.Join(filepath.Dir(f.path), p)
		}
	}
	var at *yamldoc.Error
	if errors.As(err, &at) {
		return &yamldoc.Error{Line: at.Line, Err: fmt.Errorf("%s: %w", flag.Name, at.Err)}
	}
	f.entries[flag.Name] = e
	return nil
}

// keyNames are how a key would be called, if it could stand in the file.
var keyNames = map[string]bool{"key": true, "tunnel-key": true, "tunnel_key": true}

// meant is a hint at the setting that was probably meant.
func meant(name string, program *pflag.FlagSet) string {
	bare := strings.TrimLeft(name, "-")
	if len(bare) == 1 {
		if f := program.ShorthandLookup(bare); isSetting(f) {
			return fmt.Sprintf("; did you mean %q?", f.Name)
		}
	}
	if near := spelling.Nearest(bare, Names(program), 2+len(bare)/8); near != "" {
		return fmt.Sprintf("; did you mean %q?", near)
	}
	return "; --help shows the flags, and they are the settings"
}

// one reads the value of a flag that takes one.
func one(flag *pflag.Flag, content *yaml.Node) ([]value, error) {
	text, err := scalar(content, annotated(flag, commaList))
	return []value{{text, content.Line}}, err
}

// many reads the values of a repeatable flag: one, a list, or a mapping where
// NAME: VALUE is NAME=VALUE.
func many(flag *pflag.Flag, content *yaml.Node) (values []value, err error) {
	add := func(name string, n *yaml.Node) {
		if err == nil {
			var text string
			text, err = scalar(n, annotated(flag, commaList) && (name != "" || content.Kind == yaml.SequenceNode))
			values = append(values, value{name + text, n.Line})
		}
	}
	switch content.Kind {
	case yaml.SequenceNode:
		for _, n := range content.Content {
			add("", n)
		}
	case yaml.MappingNode:
		seen := make(map[string]bool)
		for i := 0; i < len(content.Content); i += 2 {
			name := content.Content[i]
			n, bad := scalar(name, false)
			switch {
			case bad != nil:
				return nil, bad
			case strings.Contains(n, "="):
				return nil, yamldoc.Wrong(name, "%s is a name, and cannot have an =", quoted(n))
			case seen[n]:
				return nil, yamldoc.Wrong(name, "%s is there twice", quoted(n))
			}
			seen[n] = true
			add(n+"=", content.Content[i+1])
		}
	default:
		add("", content)
	}
	if err == nil && len(values) == 0 {
		err = yamldoc.Wrong(content, "has no value: give it one, or leave it out")
	}
	return values, err
}

// scalar is a value in one line, as it is written. A list, where one may be, is
// joined by commas.
func scalar(n *yaml.Node, list bool) (string, error) {
	switch {
	case n.Kind == yaml.AliasNode || n.Anchor != "":
		return "", yamldoc.Wrong(n, "anchors and aliases are not for this file; write the value out")
	case n.Style&yaml.TaggedStyle != 0:
		return "", yamldoc.Wrong(n, "tags are not for this file; write the value alone")
	case yamldoc.IsNull(n) || n.Kind == yaml.ScalarNode && n.Value == "":
		return "", yamldoc.Wrong(n, "has no value: give it one, or leave it out")
	case n.Kind == yaml.SequenceNode && list && len(n.Content) > 0:
		var parts []string
		for _, part := range n.Content {
			text, err := scalar(part, false)
			if err != nil {
				return "", err
			}
			parts = append(parts, text)
		}
		return strings.Join(parts, ","), nil
	case n.Kind != yaml.ScalarNode && list:
		return "", yamldoc.Wrong(n, "want one value here, or a list of them")
	case n.Kind != yaml.ScalarNode:
		return "", yamldoc.Wrong(n, "want one value here")
	case strings.ContainsAny(n.Value, "\r\n"):
		return "", yamldoc.Wrong(n, "want one line here")
	}
	return n.Value, nil
}

// layer is the file as koanf takes it.
func (f *file) layer(program *pflag.FlagSet) map[string]any {
	all := make(map[string]any)
	for name, e := range f.entries {
		if !repeatable(program.Lookup(name)) {
			all[name] = e.values[0].text
			continue
		}
		var texts []string
		for _, v := range e.values {
			texts = append(texts, v.text)
		}
		all[name] = texts
	}
	return all
}
