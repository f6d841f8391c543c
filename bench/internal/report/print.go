package report

import (
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

// Text writes the sheet with columns aligned by spaces.
func (s *Sheet) Text(w io.Writer) {
	table := s.table()
	widths := make([]int, len(s.Columns)+1)
	for _, line := range table {
		for i, cell := range line.cells {
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	for _, line := range table {
		if line.title != "" {
			fmt.Fprintf(w, "\n%s\n", line.title)
			continue
		}
		var text strings.Builder
		for i, cell := range line.cells {
			text.WriteString("  " + cell + strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell)))
		}
		fmt.Fprintln(w, strings.TrimRight(text.String(), " "))
	}
	s.writeNotes(w, "\n")
}

// Markdown writes the sheet as one table for each section.
func (s *Sheet) Markdown(w io.Writer) {
	for _, line := range s.table() {
		if line.title != "" {
			fmt.Fprintf(w, "\n### %s\n\n", line.title)
			continue
		}
		fmt.Fprintf(w, "| %s |\n", strings.Join(line.cells, " | "))
		if line.head {
			fmt.Fprintf(w, "|---|%s\n", strings.Repeat("---:|", len(s.Columns)))
		}
	}
	s.writeNotes(w, "\n- ")
}

func (s *Sheet) writeNotes(w io.Writer, front string) {
	for _, note := range s.notes {
		fmt.Fprintf(w, "%s%s", front, note)
	}
	if len(s.notes) > 0 {
		fmt.Fprintln(w)
	}
}

// line is a section's title or cells.
type line struct {
	title string
	head  bool
	cells []string
}

func (s *Sheet) table() (lines []line) {
	for _, sec := range s.sections {
		lines = append(lines, line{title: sec.Title}, line{head: true, cells: append([]string{"Quantity"}, s.Columns...)})
		for _, r := range sec.rows {
			cells := []string{r.Name}
			for _, c := range s.Columns {
				cells = append(cells, r.cell(c, s.Columns[0]))
			}
			lines = append(lines, line{cells: cells})
		}
	}
	return lines
}
