// Package statuscmd is the command 'status' of both programs: what a running one
// tells over its control socket, for a terminal.
package statuscmd

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/tunnelpool/pool/internal/admin"
	"github.com/tunnelpool/pool/internal/cli"
	"github.com/tunnelpool/pool/internal/config"
	"github.com/tunnelpool/pool/internal/settings"
	"github.com/tunnelpool/pool/internal/status"
)

// every is the time between two views of --watch.
const every = time.Second

type flags struct {
	watch, json bool
	stateDir    string
}

// Command is 'status' of a program of that name.
func Command(program string) *cobra.Command {
	var f flags
	c := &cobra.Command{
		Use:   "status",
		Short: "Show how the running " + program + " does",
		Long: `Show how the ` + program + ` does that runs on this machine: sessions, services with
their users, the pool and recent events. It is asked over its socket in the state
directory, so run this as its user, or as root.`,
		Example: `  ` + program + ` status
  ` + program + ` status --watch          # again every second, until Ctrl-C
  ` + program + ` status --json | jq .pool`,
		RunE: func(c *cobra.Command, _ []string) error { return run(c, program, f) },
	}
	fl := c.Flags()
	fl.BoolVar(&f.watch, "watch", false, "show it again every second, with bytes per second, until Ctrl-C")
	fl.BoolVar(&f.json, "json", false, "print JSON, as GET /api/v1/status gives it; with --watch a line a second")
	fl.StringVar(&f.stateDir, "state-dir", "", "state directory (default: as the program's)")
	settings.Directories(fl, "state-dir")
	return c
}

func run(c *cobra.Command, program string, f flags) error {
	dir, err := config.StateDir(f.stateDir)
	if err != nil {
		return cli.Usage(err)
	}
	s := &shower{client: admin.Control(dir, program), out: c.OutOrStdout(), json: f.json}
	defer s.client.Close()
	s.terminal = cli.IsTerminal(s.out)
	if !f.watch {
		return s.once(c.Context())
	}
	return s.watch(c.Context())
}

// shower asks a program and shows what it says.
type shower struct {
	client   *admin.Client
	out      io.Writer
	terminal bool
	json     bool
	before   *status.Report
}

func (s *shower) ask(ctx context.Context) (status.Report, error) {
	r, err := s.client.Report(ctx)
	if errors.Is(err, admin.ErrNotRunning) {
		err = fmt.Errorf("%w; start the program, or name its directory with --state-dir", err)
	}
	return r, err
}

func (s *shower) once(ctx context.Context) error {
	r, err := s.ask(ctx)
	if err != nil {
		return err
	}
	text, err := s.text(r)
	if err != nil {
		return err
	}
	_, err = io.WriteString(s.out, text)
	return err
}

// text is how a report is shown.
func (s *shower) text(r status.Report) (string, error) {
	if s.json {
		line, err := json.Marshal(r)
		return string(line) + "\n", err
	}
	v := view{report: r, before: s.before}
	if s.terminal {
		v.width, _ = s.size()
		v.color = cli.Colors(s.out)
	}
	return v.String(), nil
}

// size is the terminal's, 0 where it is not known.
func (s *shower) size() (width, height int) {
	f, ok := s.out.(*os.File)
	if !ok {
		return 0, 0
	}
	width, height, err := term.GetSize(int(f.Fd()))
	if err != nil {
		return 0, 0
	}
	return width, height
}

// What a terminal is told: a screen of its own without a cursor, and back; and to
// write over what is there.
const (
	enterScreen = "\x1b[?1049h\x1b[?25l"
	leaveScreen = "\x1b[?25h\x1b[?1049l"
	home        = "\x1b[H"
	eraseLine   = "\x1b[K"
	eraseRest   = "\x1b[J"
)

// watch shows the status again and again until ctx ends, which is its good end. A
// program that is not there may come back.
func (s *shower) watch(ctx context.Context) error {
	inPlace := cli.Obeys(s.out) && !s.json
	if inPlace {
		io.WriteString(s.out, enterScreen)
		defer io.WriteString(s.out, leaveScreen)
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		r, err := s.ask(ctx)
		if ctx.Err() != nil {
			return nil
		}
		var text string
		if err == nil {
			text, err = s.text(r)
			s.before = &r
		}
		switch {
		case err != nil && !inPlace:
			return err
		case err != nil:
			s.before = nil
			text = printable(err.Error()) + "\n"
		}
		if inPlace {
			text = s.frame(text)
		} else if !s.json {
			text += "\n"
		}
		if _, err := io.WriteString(s.out, text); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// frame is a view that takes the place of the one before, cut to the terminal's
// height.
func (s *shower) frame(text string) string {
	lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	if _, height := s.size(); height > 1 && len(lines) > height-1 {
		more := len(lines) - (height - 2)
		lines = append(lines[:height-2], fmt.Sprintf("… %d more lines", more))
	}
	return home + strings.Join(lines, eraseLine+"\n") + eraseLine + "\n" + eraseRest
}
