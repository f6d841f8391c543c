package pool

import (
	"fmt"
	"strings"
)

// plainName reports whether s is a prefix that variables can have.
func plainName(s string) bool {
	for _, r := range s {
		if r != '_' && (r < '0' || r > '9') && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z') {
			return false
		}
	}
	return s != "" && s[0] != '_' && s[len(s)-1] != '_'
}

// variablesOf picks the variables with that prefix which are known and not
// empty, by their names without it. One whose name is nearly known is refused;
// what else has the prefix, as PREFIX_PORT_6379_TCP of Kubernetes, is left
// alone.
func variablesOf(prefix string, environ []string) (map[string]string, error) {
	known := make(map[string]bool, len(envVariables))
	for _, v := range envVariables {
		known[v.name] = true
	}
	set := make(map[string]string)
	for _, entry := range environ {
		full, value, _ := strings.Cut(entry, "=")
		if value == "" || len(full) <= len(prefix) {
			continue
		}
		if name, ok := strings.CutPrefix(full, prefix+"_"); ok && known[name] {
			if _, twice := set[name]; !twice {
				set[name] = value
			}
			continue
		}
		if meant := meantVariable(prefix, full); meant != "" {
			return nil, fmt.Errorf("pool: %s is not known; did you mean %s_%s?", shown(full), prefix, meant)
		}
	}
	return set, nil
}

// meantVariable is the variable, without its prefix, of which full is a slip,
// or "".
func meantVariable(prefix, full string) string {
	if !strings.EqualFold(full[:len(prefix)], prefix) {
		return ""
	}
	rest := strings.ToUpper(full[len(prefix):])
	for _, v := range envVariables {
		if squeezed(rest) == squeezed(v.name) {
			return v.name
		}
	}
	// Without the underscore the prefix may be part of a longer one.
	name, ok := strings.CutPrefix(rest, "_")
	if !ok {
		return ""
	}
	for _, v := range envVariables {
		if oneSlip(name, v.name) {
			return v.name
		}
	}
	return ""
}

// squeezed is a name without its underscores.
func squeezed(name string) string { return strings.ReplaceAll(name, "_", "") }

// oneSlip reports whether one letter added, left out, replaced, or swapped with
// the next makes b of a, or none.
func oneSlip(a, b string) bool {
	if len(a) > len(b) {
		a, b = b, a
	}
	if len(b) > len(a)+1 {
		return false
	}
	i := 0 // where they differ first
	for i < len(a) && a[i] == b[i] {
		i++
	}
	if len(a) < len(b) {
		return a[i:] == b[i+1:]
	}
	if i >= len(a)-1 {
		return true // the same, or but for the last letter
	}
	swapped := a[i] == b[i+1] && a[i+1] == b[i] && a[i+2:] == b[i+2:]
	return a[i+1:] == b[i+1:] || swapped
}
