package checkup

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"golang.org/x/term"

	"github.com/tunnelpool/pool/internal/cli"
	"github.com/tunnelpool/pool/internal/config"
	"github.com/tunnelpool/pool/internal/redact"
	"github.com/tunnelpool/pool/tunnel"
)

// Report shows steps as they come, a line each, or all of them as JSON in the end.
// It is used from one goroutine.
type Report struct {
	program string
	out     io.Writer
	json    bool
	color   bool
	width   int // columns to keep to; 0: lines are not broken
	steps   []tunnel.ProbeStep
}

// New makes a report of a program's check. On a terminal lines are broken to fit,
// and coloured if [cli.Colors] says so.
func New(program string, out io.Writer, asJSON bool) *Report {
	r := &Report{program: program, out: out, json: asJSON}
	if cli.IsTerminal(out) {
		r.color = cli.Colors(out)
		r.width = usual
		if width, _, err := term.GetSize(int(out.(*os.File).Fd())); err == nil && width > 0 {
			r.width = min(max(width, narrowest), widest)
		}
	}
	return r
}

// Lines are broken to no fewer and no more columns than these; a terminal that does
// not tell has as many as usual.
const (
	narrowest = 60
	usual     = 80
	widest    = 120
)

// Step takes the next step.
func (r *Report) Step(s tunnel.ProbeStep) {
	s.Subject, s.Detail, s.Remedy = redact.Keys(s.Subject), redact.Keys(s.Detail), redact.Keys(s.Remedy)
	r.steps = append(r.steps, s)
	if !r.json {
		io.WriteString(r.out, r.lines(s))
	}
}

// Warnings takes what there is to say of a configuration that works.
func (r *Report) Warnings(all []string) {
	for _, w := range all {
		r.Step(tunnel.ProbeStep{Name: tunnel.StepConfiguration, State: tunnel.ProbeWarning, Detail: w})
	}
}

// Refused tells of a configuration that is not worth a check, and returns the
// command's error.
func (r *Report) Refused(err error) error {
	if r.json {
		r.Step(tunnel.ProbeStep{Name: tunnel.StepConfiguration, State: tunnel.ProbeFailed, Detail: err.Error(), Err: err})
		r.writeJSON()
	}
	return cli.Usage(err)
}

// End tells what came of it all, and returns the command's error: nil unless a
// step failed.
func (r *Report) End() error {
	failed, warnings := r.count(tunnel.ProbeFailed), r.count(tunnel.ProbeWarning)
	switch {
	case r.json:
		r.writeJSON()
	case failed > 0:
	case warnings > 0:
		fmt.Fprintf(r.out, "It works, with %s.\n", cli.Count(warnings, "warning"))
	default:
		fmt.Fprintln(r.out, "All is well.")
	}
	if failed > 0 {
		return fmt.Errorf("the check found %s", cli.Count(failed, "failure"))
	}
	return nil
}

func (r *Report) count(state tunnel.ProbeState) (n int) {
	for _, s := range r.steps {
		if s.State == state {
			n++
		}
	}
	return n
}

// Where the columns of a line begin, in characters.
const (
	stateWidth = 7
	timeWidth  = 8
	nameWidth  = 13
	textColumn = stateWidth + 1 + timeWidth + 2 + nameWidth + 2
	arrow      = "-> "
)

// lines are what people see of a step.
func (r *Report) lines(s tunnel.ProbeStep) string {
	state := fmt.Sprintf("%-*s", stateWidth, s.State)
	if r.color {
		state = colors[s.State] + state + noColor
	}
	head := fmt.Sprintf("%s %*s  %-*s  ", state, timeWidth, timeText(s.Time), nameWidth, nameText(s.Name))
	text := head + r.broken(s.Detail, textColumn) + "\n"
	if s.Remedy != "" {
		text += strings.Repeat(" ", textColumn) + arrow + r.broken(s.Remedy, textColumn+len(arrow)) + "\n"
	}
	return text
}

const noColor = "\x1b[0m"

var colors = map[tunnel.ProbeState]string{
	tunnel.ProbeOK:      "\x1b[32m",
	tunnel.ProbeWarning: "\x1b[33m",
	tunnel.ProbeFailed:  "\x1b[31m",
	tunnel.ProbeSkipped: "\x1b[2m",
}

// nameText is a step's name for people.
func nameText(name string) string {
	if name == tunnel.StepTLS {
		return "TLS"
	}
	return strings.ReplaceAll(name, "_", " ")
}

// timeText is a time in two or three digits, nothing for none.
func timeText(d time.Duration) string {
	switch ms := float64(d) / float64(time.Millisecond); {
	case d <= 0:
		return ""
	case d < time.Millisecond:
		return fmt.Sprintf("%.2f ms", ms)
	case d < 10*time.Millisecond:
		return fmt.Sprintf("%.1f ms", ms)
	case d < time.Second:
		return fmt.Sprintf("%.0f ms", ms)
	}
	return fmt.Sprintf("%.1f s", d.Seconds())
}

// broken breaks a text that begins in a column, between words where that is
// possible; what follows begins in the same column.
func (r *Report) broken(text string, column int) string {
	room := r.width - column
	if r.width == 0 {
		return text
	}
	var lines []string
	line := ""
	for _, word := range strings.Fields(text) {
		for runes := []rune(word); ; {
			switch left := room - len([]rune(line)) - 1; {
			case line == "" && len(runes) > room: // a word that fits nowhere
				lines, runes = append(lines, string(runes[:room])), runes[room:]
				continue
			case line == "":
				line = string(runes)
			case len(runes) > room && left >= room/4: // likewise
				lines, line, runes = append(lines, line+" "+string(runes[:left])), "", runes[left:]
				continue
			case len(runes) <= left:
				line += " " + string(runes)
			default:
				lines, line = append(lines, line), ""
				continue
			}
			break
		}
	}
	return strings.Join(append(lines, line), "\n"+strings.Repeat(" ", column))
}

// document is what programs get to see.
type document struct {
	Program string         `json:"program"`
	OK      bool           `json:"ok"`
	Steps   []documentStep `json:"steps"`
}

type documentStep struct {
	Step    string   `json:"step"`
	Subject string   `json:"subject,omitempty"`
	State   string   `json:"state"`
	Seconds *float64 `json:"seconds,omitempty"`
	Detail  string   `json:"detail"`
	Remedy  string   `json:"remedy,omitempty"`
}

func (r *Report) writeJSON() {
	d := document{Program: r.program, OK: r.count(tunnel.ProbeFailed) == 0, Steps: []documentStep{}}
	for _, s := range r.steps {
		step := documentStep{Step: s.Name, Subject: s.Subject, State: string(s.State), Detail: s.Detail, Remedy: s.Remedy}
		if s.Time > 0 {
			seconds := s.Time.Seconds()
			step.Seconds = &seconds
		}
		d.Steps = append(d.Steps, step)
	}
	e := json.NewEncoder(r.out)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	_ = e.Encode(d) // to standard output; there is nobody else to tell
}

// Key adds to the step of a key where it was found, and whether others can read it.
func Key(s tunnel.ProbeStep, key config.KeySource) tunnel.ProbeStep {
	if key.Path == "" {
		s.Detail += ", from TUNNEL_KEY"
		return s
	}
	s.Detail += ", from " + key.Path
	if key.Loose {
		s.State, s.Remedy = tunnel.ProbeWarning, "others on this machine can read it: chmod 600 "+key.Path
	}
	return s
}
