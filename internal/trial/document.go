package trial

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Where the document has what the command writes.
const (
	document  = "ADAPTATION.md"
	plotsDir  = "adaptation"
	generated = "<!-- What follows is written by: go run ./internal/trial/cmd -write docs -->\n"
	ends      = "<!-- Here the written part ends. -->\n"
)

// Plots are the pictures of the first trial, by file name.
func (r *Report) Plots() map[string]string {
	plots := make(map[string]string)
	t := r.Trials[0]
	for i := range traces {
		plots[fileName(&traces[i])] = plot(&traces[i], t.Results[oursConsumed][i].Line, t.Results[seedRule][i].Line, t.MinCap)
	}
	return plots
}

func fileName(t *Trace) string { return strings.ReplaceAll(t.Name, " ", "-") + ".svg" }

// written is what stands between the marks: the traces with their plots, then
// the tables.
func (r *Report) written() string {
	var b strings.Builder
	b.WriteString("\n")
	for i := range traces {
		t := &traces[i]
		fmt.Fprintf(&b, "**%s**: %s.\n\n![%s](%s/%s)\n\n", t.Name, t.What, t.Name, plotsDir, fileName(t))
	}
	b.WriteString(r.Tables())
	b.WriteString("\n")
	return b.String()
}

// Splice returns the document with the part between its marks written anew.
func (r *Report) Splice(text string) (string, error) {
	before, rest, ok := strings.Cut(text, generated)
	if !ok {
		return "", fmt.Errorf("the document has no line %q", strings.TrimSpace(generated))
	}
	_, after, ok := strings.Cut(rest, ends)
	if !ok {
		return "", fmt.Errorf("the document has no line %q", strings.TrimSpace(ends))
	}
	return before + generated + r.written() + ends + after, nil
}

// Write writes the plots, and the tables into the document, below dir.
func (r *Report) Write(dir string) error {
	path := filepath.Join(dir, document)
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	spliced, err := r.Splice(string(text))
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if err := os.MkdirAll(filepath.Join(dir, plotsDir), 0o755); err != nil {
		return err
	}
	for name, svg := range r.Plots() {
		if err := os.WriteFile(filepath.Join(dir, plotsDir, name), []byte(svg), 0o644); err != nil {
			return err
		}
	}
	return os.WriteFile(path, []byte(spliced), 0o644)
}
