// Package manual writes a program's manual page from its command tree: one page
// in the language of man(7) with every command and every flag, so that it cannot
// say other things than --help. Cobra's own generator makes a page of each
// command, reads our texts as Markdown, and brings two modules for that.
package manual

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/tunnelpool/pool/internal/cli"
)

// Section is a chapter of the page besides those that the commands make: text as
// in a command's Long.
type Section struct{ Title, Text string }

// Command is the command of root that prints the page of its tree.
func Command(root *cobra.Command, sections ...Section) *cobra.Command {
	return &cobra.Command{
		Use:   "man",
		Short: "Print the manual page",
		Long: `Print the manual page of this program with all of its commands, for man(1).
It goes where the system looks for pages, as in the example.`,
		Example: strings.ReplaceAll(`  PROGRAM man | man -l -
  PROGRAM man > /usr/local/share/man/man1/PROGRAM.1`, "PROGRAM", root.Name()),
		RunE: func(c *cobra.Command, _ []string) error {
			return Write(c.OutOrStdout(), root, cli.ThisBuild(), sections...)
		},
	}
}

// Write writes the page of a command tree.
func Write(w io.Writer, root *cobra.Command, b cli.Build, sections ...Section) error {
	p := page{program: root.Name()}
	date := ""
	if at, err := time.Parse(time.RFC3339, b.Date); err == nil {
		date = at.UTC().Format(time.DateOnly)
	}
	p.printf(`.TH "%s" 1 "%s" "%s" "User Commands"`, escape(strings.ToUpper(p.program)), date, escape("tunnelpool "+b.Version))
	p.request("nh") // a flag or an address is not to be broken
	p.printf(".ad l")
	p.request("SH", "NAME")
	p.printf("%s \\- %s", escape(p.program), escape(root.Short))
	commands := tree(root)
	p.synopsis(root, commands)
	p.request("SH", "DESCRIPTION")
	p.prose(root.Long)
	p.request("SH", "OPTIONS")
	p.flags(root)
	p.request("SH", "COMMANDS")
	for _, c := range commands {
		p.command(c)
	}
	for _, s := range sections {
		p.request("SH", s.Title)
		p.prose(strings.ReplaceAll(s.Text, "PROGRAM", p.program))
	}
	p.request("SH", "EXAMPLES")
	p.verbatim(root.Example)
	_, err := io.WriteString(w, p.text.String())
	return err
}

// tree lists the commands below root, of which help says the same as the page.
func tree(root *cobra.Command) (all []*cobra.Command) {
	for _, c := range root.Commands() {
		if !c.Hidden && c.Name() != "help" {
			all = append(append(all, c), tree(c)...)
		}
	}
	return all
}

// page is what was written of one.
type page struct {
	program string
	text    strings.Builder
}

func (p *page) printf(format string, args ...any) { fmt.Fprintf(&p.text, format+"\n", args...) }

// request writes a line that begins with a dot.
func (p *page) request(name string, args ...string) {
	p.text.WriteString("." + name)
	for _, a := range args {
		p.text.WriteString(` "` + strings.ReplaceAll(escape(a), `"`, `\(dq`) + `"`)
	}
	p.text.WriteString("\n")
}

func (p *page) synopsis(root *cobra.Command, commands []*cobra.Command) {
	p.request("SH", "SYNOPSIS")
	p.usage(root)
	for _, c := range commands {
		if c.Runnable() && !c.HasSubCommands() {
			p.request("br")
			p.usage(c)
		}
	}
}

// usage writes how a command is called, its words in bold.
func (p *page) usage(c *cobra.Command) {
	words := c.CommandPath()
	p.printf(`\fB%s\fR%s`, escape(words), escape(strings.TrimPrefix(c.UseLine(), words)))
}

// command writes what there is to know of a command below the root.
func (p *page) command(c *cobra.Command) {
	p.request("SS", strings.TrimPrefix(c.CommandPath(), p.program+" ")+arguments(c))
	if c.Long != "" {
		p.prose(c.Long)
	} else {
		p.prose(c.Short + ".")
	}
	p.flags(c)
	if c.Example != "" {
		p.request("PP")
		p.verbatim(c.Example)
	}
}

// arguments is what follows a command's name in its usage, flags apart.
func arguments(c *cobra.Command) string {
	_, rest, _ := strings.Cut(c.Use, " ")
	if rest = strings.TrimSpace(rest); rest == "" {
		return ""
	}
	return " " + rest
}

// flags writes the flags of a command, in the order of its help.
func (p *page) flags(c *cobra.Command) {
	c.LocalFlags().VisitAll(func(f *pflag.Flag) {
		if f.Hidden {
			return
		}
		p.request("TP")
		name := `\fB` + escape("--"+f.Name) + `\fR`
		if f.Shorthand != "" {
			name = `\fB` + escape("-"+f.Shorthand) + `\fR, ` + name
		}
		kind, usage := pflag.UnquoteUsage(f)
		if kind != "" {
			name += ` \fI` + escape(valueName(kind)) + `\fR`
		}
		p.printf("%s", name)
		if d := f.DefValue; d != "" && d != "0" && d != "0s" && d != "false" && d != "[]" {
			usage += " (default " + d + ")"
		}
		p.fill(usage)
	})
}

// valueName is what a value is called by its kind.
func valueName(kind string) string {
	if kind == "stringArray" || kind == "strings" {
		return "string"
	}
	return kind
}

// prose writes paragraphs, and as they are those lines that are indented.
func (p *page) prose(text string) {
	first := true
	for paragraph := range strings.SplitSeq(text, "\n\n") {
		if paragraph = strings.TrimPrefix(strings.Trim(paragraph, "\n"), "#### "); paragraph == "" { // cobra writes Markdown headings
			continue
		}
		if !first {
			p.request("PP")
		}
		first = false
		if strings.HasPrefix(paragraph, " ") || strings.HasPrefix(paragraph, "\t") {
			p.verbatim(paragraph)
			continue
		}
		p.fill(paragraph)
	}
}

// verbatim writes lines as they stand, without what all of them are indented by.
func (p *page) verbatim(text string) {
	p.request("nf")
	p.printf(".RS 4")
	for line := range strings.SplitSeq(strings.Trim(text, "\n"), "\n") {
		line = strings.ReplaceAll(strings.TrimPrefix(strings.TrimPrefix(line, "\t"), "  "), "\t", "    ")
		p.printf("%s", escape(line))
	}
	p.request("RE")
	p.request("fi")
}

// fill writes text that the reader's terminal breaks into lines.
func (p *page) fill(text string) {
	const width = 72 // of the source
	line := ""
	for _, word := range strings.Fields(text) {
		if line != "" && len(line)+1+len(word) > width {
			p.printf("%s", escape(line))
			line = ""
		}
		if line != "" {
			line += " "
		}
		line += word
	}
	if line != "" {
		p.printf("%s", escape(line))
	}
}

// escape takes from a line what would be an instruction of the page's language,
// and writes what is not ASCII by its number.
func escape(line string) string {
	var b strings.Builder
	if strings.HasPrefix(line, ".") || strings.HasPrefix(line, "'") {
		b.WriteString(`\&`)
	}
	for _, r := range line {
		switch {
		case r == '\\':
			b.WriteString(`\e`)
		case r == '-':
			b.WriteString(`\-`)
		case r == '\'':
			b.WriteString(`\(aq`)
		case r == '`':
			b.WriteString(`\(ga`)
		case r == '^':
			b.WriteString(`\(ha`)
		case r == '~':
			b.WriteString(`\(ti`)
		case r > 126:
			fmt.Fprintf(&b, `\[u%04X]`, r)
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}
