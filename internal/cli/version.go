package cli

import (
	"cmp"
	"runtime/debug"
	"strings"
)

// What a build says of itself where Go knows better than the build, as with
// sources from an archive: set by -ldflags "-X …/internal/cli.version=1.2.3 …".
// Each stands in for what the build's own information has of it.
var version, commit, date string

// Build is what is known of the program that runs.
type Build struct {
	Version string // as in v1.2.3; devel for what is none
	Commit  string // of the sources, 12 characters; empty when not known
	Date    string // of that commit, RFC 3339; empty when not known
	Go      string // version of Go
}

// noVersion begins what Go makes up where no release came before: date and commit,
// which are told anyhow.
const noVersion = "v0.0.0-"

// ThisBuild reads what the build has left in the program.
func ThisBuild() Build {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		info = new(debug.BuildInfo)
	}
	return readBuild(info, version, commit, date)
}

func readBuild(info *debug.BuildInfo, version, commit, date string) Build {
	b := Build{Version: info.Main.Version, Go: info.GoVersion}
	modified := false
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			b.Commit = s.Value
		case "vcs.time":
			b.Date = s.Value
		case "vcs.modified":
			modified = s.Value == "true"
		}
	}
	if b.Version == "(devel)" || strings.HasPrefix(b.Version, noVersion) {
		b.Version = ""
	}
	if modified && !strings.HasSuffix(b.Version, "+dirty") { // which is Go's word for it
		b.Version = cmp.Or(b.Version, "devel") + "+dirty"
	}
	b.Version = cmp.Or(version, b.Version, "devel")
	b.Commit = cmp.Or(commit, b.Commit)
	b.Commit = b.Commit[:min(len(b.Commit), 12)]
	b.Date = cmp.Or(date, b.Date)
	return b
}

// String is what --version says after the program's name.
func (b Build) String() string {
	words := []string{b.Version}
	if b.Commit != "" {
		words = append(words, "commit "+b.Commit)
	}
	if b.Date != "" {
		words = append(words, b.Date)
	}
	if b.Go != "" {
		words = append(words, b.Go)
	}
	return strings.Join(words, ", ")
}

// Version tells version, commit, its date, and the version of Go.
func Version() string { return ThisBuild().String() }
