package packaging

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"
)

func read(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(top, name))
	require.NoError(t, err)
	return string(text)
}

// instruction is one of a Dockerfile.
type instruction struct{ name, args string }

// instructions reads a Dockerfile by stage; those before the first are under "".
func instructions(t *testing.T, text string) map[string][]instruction {
	t.Helper()
	text = regexp.MustCompile(`(?m)^\s*#.*\n`).ReplaceAllString(text, "")
	text = strings.ReplaceAll(text, "\\\n", " ")
	stages, stage := map[string][]instruction{}, ""
	for line := range strings.Lines(text) {
		name, args, _ := strings.Cut(strings.TrimSpace(line), " ")
		if name == "" {
			continue
		}
		require.Regexp(t, `^(ARG|FROM|WORKDIR|COPY|RUN|USER|ENV|VOLUME|ENTRYPOINT|EXPOSE|HEALTHCHECK)$`, name)
		if name == "FROM" {
			words := strings.Fields(args)
			require.Len(t, words, 3, "every stage has a name: %s", line)
			stage = words[2]
			stages[stage] = append(stages[stage], stages[words[0]]...)
		}
		stages[stage] = append(stages[stage], instruction{name, args})
	}
	return stages
}

func last(of []instruction, name string) (args string) {
	for _, i := range of {
		if i.name == name {
			args = i.args
		}
	}
	return args
}

// TestDockerfile holds what the images promise: one static program without a
// shell, not as root, with its state in a volume and certificates to verify with.
func TestDockerfile(t *testing.T) {
	stages := instructions(t, read(t, "Dockerfile"))
	for _, i := range stages["build"] {
		if i.name == "COPY" {
			for _, source := range strings.Fields(i.args)[:len(strings.Fields(i.args))-1] {
				_, err := os.Stat(filepath.Join(top, source))
				require.NoError(t, err)
			}
		}
	}
	for _, target := range []string{"server", "client"} {
		of := stages[target]
		require.Contains(t, of, instruction{"FROM", "scratch AS base"})
		require.Regexp(t, `^[1-9]\d*:[1-9]\d*$`, last(of, "USER"), "numbers, so that others can tell that it is not root")
		var entry []string
		require.NoError(t, json.Unmarshal([]byte(last(of, "ENTRYPOINT")), &entry), "without a shell: signals reach the program")
		require.Equal(t, []string{"/tunnel-" + target}, entry)
		require.Regexp(t, `CMD \["/tunnel-`+target+`", "status"\]$`, last(of, "HEALTHCHECK"))
		require.Equal(t, "STATE_DIRECTORY="+last(of, "VOLUME"), last(of, "ENV"))
		require.Contains(t, fmt.Sprint(of), "/etc/ssl/certs/ca-certificates.crt")
		require.Contains(t, of, instruction{"COPY", "--from=build /out/tunnel-" + target + " /tunnel-" + target})
		for _, i := range of {
			require.NotEqual(t, "RUN", i.name, "there is nothing to run")
		}
	}
	for _, name := range []string{"version", "commit", "date"} {
		require.Contains(t, read(t, "Dockerfile"), "/internal/cli."+name+"=${"+strings.ToUpper(name)+"}")
	}
}

// ignored reports whether .dockerignore keeps a file out: the last pattern that
// matches it, or a directory above it, decides.
func ignored(t *testing.T, patterns, file string) (out bool) {
	t.Helper()
	for p := range strings.Lines(patterns) {
		p = strings.TrimSpace(p)
		if p == "" || strings.HasPrefix(p, "#") {
			continue
		}
		p, in := strings.CutPrefix(p, "!")
		for at := file; at != "."; at = path.Dir(at) {
			name := at
			if strings.HasPrefix(p, "**/") {
				name = path.Base(at)
			}
			matches, err := path.Match(strings.TrimPrefix(p, "**/"), name)
			require.NoError(t, err)
			if matches {
				out = !in
			}
		}
	}
	return out
}

// TestImageHasTheSources: what .dockerignore lets through is what the programs are
// built of, on every processor.
func TestImageHasTheSources(t *testing.T) {
	patterns := read(t, ".dockerignore")
	list := exec.Command(tool(t, "go"), "list", "-deps", "-f",
		`{{if not .Standard}}{{with .Module}}{{if .Main}}{{$.Dir}}{{end}}{{end}}{{range .GoFiles}} {{.}}{{end}}{{range .EmbedFiles}} {{.}}{{end}}{{end}}`, "./cmd/...")
	list.Dir, list.Env = top, append(os.Environ(), "GOOS=linux", "CGO_ENABLED=0")
	out, err := list.Output()
	require.NoError(t, err)
	here, err := filepath.Abs(top)
	require.NoError(t, err)
	files := 0
	for line := range strings.Lines(string(out)) {
		words := strings.Fields(line)
		if len(words) == 0 || !strings.HasPrefix(words[0], here) {
			continue
		}
		for _, name := range words[1:] {
			file, err := filepath.Rel(here, filepath.Join(words[0], name))
			require.NoError(t, err)
			require.False(t, ignored(t, patterns, filepath.ToSlash(file)), "%s is not in the image's sources", file)
			files++
		}
	}
	require.Greater(t, files, 100, "too few files seen for the test to mean anything")
	for _, file := range []string{"go.mod", "go.sum"} {
		require.False(t, ignored(t, patterns, file))
	}
	for _, file := range []string{".git/config", "pool_test.go", "key", "internal/e2e/doc.go", "tunnel/main_test.go", "bench/go.mod"} {
		require.True(t, ignored(t, patterns, file), "%s would only make builds anew", file)
	}
}

// TestCompose: the example's files and targets exist.
func TestCompose(t *testing.T) {
	var compose struct {
		Services map[string]struct {
			Build struct{ Context, Target string }
		}
	}
	require.NoError(t, yaml.Unmarshal([]byte(read(t, "deploy/compose.yaml")), &compose))
	stages := instructions(t, read(t, "Dockerfile"))
	for _, name := range []string{"server", "client"} {
		build := compose.Services[name].Build
		require.FileExists(t, filepath.Join(top, "deploy", build.Context, "Dockerfile"))
		require.NotEmpty(t, stages[build.Target])
	}
}

// TestImagesBuild builds both images and asks the programs for their version. It
// needs an engine, and a registry for the image with Go.
func TestImagesBuild(t *testing.T) {
	if os.Getenv("TUNNEL_LONG") == "" {
		t.Skip("it takes minutes: set TUNNEL_LONG=1")
	}
	docker := tool(t, "docker")
	if out, err := exec.Command(docker, "info").CombinedOutput(); err != nil {
		t.Skipf("there is no engine here: %s", out)
	}
	image := regexp.MustCompile(`(?m)^ARG GO_IMAGE=(\S+)$`).FindStringSubmatch(read(t, "Dockerfile"))[1]
	if out, err := exec.Command(docker, "pull", image).CombinedOutput(); err != nil {
		t.Skipf("%s cannot be had here: %s", image, out)
	}
	for _, target := range []string{"server", "client"} {
		tag := "tunnelpool-test/" + target
		build := exec.Command(docker, "build", "--target", target, "--build-arg", "VERSION=v9.8.7", "-t", tag, ".")
		build.Dir = top
		out, err := build.CombinedOutput()
		require.NoError(t, err, "%s", out)
		t.Cleanup(func() { exec.Command(docker, "rmi", tag).Run() })
		out, err = exec.Command(docker, "run", "--rm", "--read-only", "--cap-drop=ALL", tag, "--version").CombinedOutput()
		require.NoError(t, err, "%s", out)
		require.Contains(t, string(out), "tunnel-"+target+" v9.8.7")
	}
}
