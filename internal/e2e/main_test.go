package e2e

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

var programs struct {
	once sync.Once
	dir  string
	err  error
}

// TestMain removes what was built, and fails the package when a test leaves a
// goroutine behind.
func TestMain(m *testing.M) {
	flag.Parse()
	flag.Set("test.parallel", "8") // they wait more than they compute, whatever the processors
	status := m.Run()
	if programs.dir != "" {
		os.RemoveAll(programs.dir)
	}
	if err := goleak.Find(); err != nil && status == 0 {
		fmt.Fprintln(os.Stderr, err)
		status = 1
	}
	os.Exit(status)
}

// build builds both programs, once, and returns their directory.
func build(t *testing.T) string {
	t.Helper()
	if runtime.GOOS == "windows" {
		t.Skip("the tests stop programs with signals, which Windows has not")
	}
	goTool, err := exec.LookPath("go")
	if err != nil {
		t.Skip("the go command is not in PATH, and the programs must be built")
	}
	programs.once.Do(func() {
		if programs.dir, programs.err = os.MkdirTemp("", "tunnelpool-e2e-"); programs.err != nil {
			return
		}
		c := exec.Command(goTool, "build", "-buildvcs=false", "-o", programs.dir+string(filepath.Separator),
			"./cmd/tunnel-server", "./cmd/tunnel-client")
		c.Dir = filepath.Join("..", "..")
		c.Env = append(os.Environ(), "CGO_ENABLED=0") // as released
		if out, err := c.CombinedOutput(); err != nil {
			programs.err = fmt.Errorf("%w\n%s", err, out)
		}
	})
	require.NoError(t, programs.err)
	return programs.dir
}
