package cli

import (
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestVersion(t *testing.T) {
	require.Regexp(t, `^[^ ,\n]+(, commit [0-9a-f]{12})?(, \d{4}-[^,\n]+)?, go1\.[^\n]+$`, Version())
}

func TestReadBuild(t *testing.T) {
	info := func(version string, settings ...string) *debug.BuildInfo {
		b := &debug.BuildInfo{GoVersion: "go1.25.0", Main: debug.Module{Version: version}}
		for i := 0; i < len(settings); i += 2 {
			b.Settings = append(b.Settings, debug.BuildSetting{Key: settings[i], Value: settings[i+1]})
		}
		return b
	}
	const revision, at = "0123456789abcdef0123456789abcdef01234567", "2026-11-21T10:00:00Z"
	for _, c := range []struct {
		info                  *debug.BuildInfo
		version, commit, date string
		want                  string
	}{
		{info: info(""), want: "devel, go1.25.0"},
		{info: info("(devel)"), want: "devel, go1.25.0"},
		{info: info("v0.0.0-20261121100000-0123456789ab+dirty", "vcs.revision", revision, "vcs.time", at, "vcs.modified", "true"),
			want: "devel+dirty, commit 0123456789ab, " + at + ", go1.25.0"},
		{info: info("v0.0.0-20261121100000-0123456789ab", "vcs.revision", revision, "vcs.time", at, "vcs.modified", "false"),
			want: "devel, commit 0123456789ab, " + at + ", go1.25.0"},
		{info: info("v1.2.3"), want: "v1.2.3, go1.25.0"}, // go install …@v1.2.3
		{info: info("(devel)", "vcs.revision", revision, "vcs.time", at, "vcs.modified", "false"),
			want: "devel, commit 0123456789ab, " + at + ", go1.25.0"},
		{info: info("(devel)", "vcs.revision", revision, "vcs.time", at, "vcs.modified", "true"),
			want: "devel+dirty, commit 0123456789ab, " + at + ", go1.25.0"},
		{info: info("v1.2.3+dirty", "vcs.revision", revision, "vcs.modified", "true"),
			want: "v1.2.3+dirty, commit 0123456789ab, go1.25.0"},
		// A release says it itself.
		{info: info("v0.0.0-2026+dirty", "vcs.modified", "true"), version: "v1.2.3", commit: revision, date: at,
			want: "v1.2.3, commit 0123456789ab, " + at + ", go1.25.0"},
		{info: info("", "vcs.revision", revision), commit: "short", want: "devel, commit short, go1.25.0"},
		{info: new(debug.BuildInfo), want: "devel"},
	} {
		require.Equal(t, c.want, readBuild(c.info, c.version, c.commit, c.date).String())
	}
}

// TestReleaseVersion: a build says what -ldflags gives it. The names are those in
// .goreleaser.yaml, the Dockerfile and docs/INSTALL.md.
func TestReleaseVersion(t *testing.T) {
	goTool, err := exec.LookPath("go")
	if err != nil {
		t.Skip("the go command is not in PATH, and the program must be built")
	}
	program := filepath.Join(t.TempDir(), "tunnel-client")
	if runtime.GOOS == "windows" {
		program += ".exe"
	}
	const in = "-X github.com/tunnelpool/pool/internal/cli."
	build := exec.Command(goTool, "build", "-buildvcs=false", "-o", program,
		"-ldflags", in+"version=v9.8.7 "+in+"commit=0123456789abcdef "+in+"date=2026-11-21T10:00:00Z", "./cmd/tunnel-client")
	build.Dir = filepath.Join("..", "..")
	out, err := build.CombinedOutput()
	require.NoError(t, err, "%s", out)
	out, err = exec.Command(program, "--version").Output()
	require.NoError(t, err)
	require.Equal(t, "tunnel-client v9.8.7, commit 0123456789ab, 2026-11-21T10:00:00Z, "+runtime.Version()+"\n", string(out))
}
