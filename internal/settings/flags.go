package settings

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"
)

// ConfigFlag is the flag with the file's name.
const ConfigFlag = "config"

// ConfigUsage is what the help says of it.
const ConfigUsage = "YAML file with settings, each called as its flag"

// What a flag can be besides its type.
const (
	commandOnly   = "tunnelpool_command_only"
	commaList     = "tunnelpool_comma_list"
	fileName      = "tunnelpool_file"
	directoryName = "tunnelpool_directory"
)

// Files marks flags that name files. In the configuration file they are relative to
// its directory.
func Files(flags *pflag.FlagSet, names ...string) { annotate(flags, fileName, names) }

// Directories marks flags that name directories, likewise.
func Directories(flags *pflag.FlagSet, names ...string) { annotate(flags, directoryName, names) }

// IsFile tells the flags that [Files] has marked.
func IsFile(f *pflag.Flag) bool { return annotated(f, fileName) }

// IsDirectory tells the flags that [Directories] has marked.
func IsDirectory(f *pflag.Flag) bool { return annotated(f, directoryName) }

// CommandOnly keeps flags of a command from being settings, although the program
// has settings of that name: they mean something else.
func CommandOnly(flags *pflag.FlagSet, names ...string) { annotate(flags, commandOnly, names) }

// CommaList marks flags whose value is a list with commas, or whose values are
// such lists: in the file they take a list too.
func CommaList(flags *pflag.FlagSet, names ...string) { annotate(flags, commaList, names) }

// annotate panics where there is no such flag: a mistake in the program.
func annotate(flags *pflag.FlagSet, what string, names []string) {
	for _, name := range names {
		if err := flags.SetAnnotation(name, what, nil); err != nil {
			panic(err)
		}
	}
}

func annotated(f *pflag.Flag, what string) bool {
	_, ok := f.Annotations[what]
	return ok
}

// isSetting tells flags that can be set elsewhere from those that cannot.
func isSetting(f *pflag.Flag) bool {
	return f != nil && !annotated(f, commandOnly) && f.Name != ConfigFlag && f.Name != "help" && f.Name != "version"
}

// isPath tells flags that name files or directories.
func isPath(f *pflag.Flag) bool { return IsFile(f) || IsDirectory(f) }

// repeatable tells flags that may be given several times.
func repeatable(f *pflag.Flag) bool {
	_, ok := f.Value.(pflag.SliceValue)
	return ok
}

// Names are the names of a program's settings.
func Names(program *pflag.FlagSet) (names []string) {
	program.VisitAll(func(f *pflag.Flag) {
		if isSetting(f) {
			names = append(names, f.Name)
		}
	})
	return names
}

// Check says what is wrong with a value before it is set. What only the program
// can tell it tells later.
func Check(f *pflag.Flag, text string) error {
	var wanted string
	var err error
	switch f.Value.Type() {
	case "int":
		_, err = strconv.ParseInt(text, 0, strconv.IntSize)
		wanted = "a whole number"
	case "duration":
		_, err = time.ParseDuration(text)
		wanted = "a time with its unit, as in 500ms, 5s or 2m"
	case "bool":
		if _, err := strconv.ParseBool(text); err != nil { // 1 and 0 are common in variables
			return fmt.Errorf("%s is neither true nor false", quoted(text))
		}
	}
	switch {
	case err != nil:
		return fmt.Errorf("%s is not %s", quoted(text), wanted)
	case isPath(f) && (strings.Contains(text, "\n") || strings.Contains(text, "-----BEGIN")): // not to be quoted
		return fmt.Errorf("wants the name of a file, and not what is in it")
	}
	return nil
}

// quoted is a value for an error. A long one is not shown in part: a key that is
// cut is not known for one.
func quoted(text string) string {
	const most = 200
	if len(text) > most {
		return fmt.Sprintf("a value of %d bytes", len(text))
	}
	return strconv.Quote(text)
}

// set gives a flag its values; one, if it is not repeatable.
func set(f *pflag.Flag, value any) error {
	switch v := value.(type) {
	case []string:
		return f.Value.(pflag.SliceValue).Replace(v)
	default:
		return f.Value.Set(fmt.Sprint(v))
	}
}
