package wire

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"
)

// TestProtocolDocument holds docs/PROTOCOL.md to the code: its examples are the
// golden bytes, and its tables have every code under its number.
func TestProtocolDocument(t *testing.T) {
	text, err := os.ReadFile("../../docs/PROTOCOL.md")
	if err != nil {
		t.Fatal(err)
	}
	document := string(text)
	examples := strings.Join(strings.Fields(document), " ")

	golden := map[string]string{"Join": goldenJoin}
	for _, g := range goldenFrames {
		golden[g.name] = g.hex
	}
	for _, g := range goldenMessages {
		golden[fmt.Sprintf("%v %+v", g.m.Type(), g.m)] = g.hex
	}
	for name, hex := range golden {
		if !strings.Contains(examples, hex) {
			t.Errorf("the example of %s is not %s", name, hex)
		}
	}

	var rows []string
	for code := range 256 {
		if ft := FrameType(code); frameNameKnown(ft) {
			rows = append(rows, fmt.Sprintf("| %d | %v |", code, ft))
		}
		if mt := MessageType(code); mt.known() {
			rows = append(rows, fmt.Sprintf("| %d | %v |", code, mt))
		}
		if p := Disposition(code); p.known() {
			rows = append(rows, fmt.Sprintf("| %d | %v |", code, p))
		}
	}
	for code, name := range []string{"OK", "PortNotAllowed", "PortTaken", "PortHeld", "BindNotAllowed",
		"TooMany", "Unsupported", "Shutdown", "Internal", "Replaced", "BadRequest", "IdentityInUse", "TargetNotAllowed"} {
		rows = append(rows, fmt.Sprintf("| %d | %s |", code, name))
	}
	for i, name := range []string{"aborted", "refused", "unreachable", "timeout", "shutdown", "internal"} {
		rows = append(rows, fmt.Sprintf("| %d | %s |", i+1, name))
	}
	for _, row := range rows {
		if !strings.Contains(document, "\n"+row) {
			t.Errorf("no table has the row %q", row)
		}
	}
}

// TestProtocolLinks follows the document's links to its own sections.
func TestProtocolLinks(t *testing.T) {
	text, err := os.ReadFile("../../docs/PROTOCOL.md")
	if err != nil {
		t.Fatal(err)
	}
	anchors := make(map[string]bool)
	for _, m := range regexp.MustCompile(`(?m)^#+ (.*)$`).FindAllStringSubmatch(string(text), -1) {
		anchor := strings.ReplaceAll(strings.ToLower(m[1]), " ", "-")
		anchors[regexp.MustCompile(`[^a-z0-9-]`).ReplaceAllString(anchor, "")] = true
	}
	for _, m := range regexp.MustCompile(`\]\(#([^)]*)\)`).FindAllStringSubmatch(string(text), -1) {
		if !anchors[m[1]] {
			t.Errorf("no section for the link #%s", m[1])
		}
	}
}

func frameNameKnown(t FrameType) bool {
	_, _, ok := t.payload()
	return ok
}
