package e2e

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// happening is what the code tells of an event, all places together.
type happening struct{ levels, keys map[string]bool }

// source is the code, read for its calls of pool.Tell.
type source struct {
	t         *testing.T
	functions []*ast.FuncDecl
	events    map[string]happening
}

// begins are the keys that calls begin facts with, by the name of the method.
var begins = map[string][]string{
	"ofClient":  {"client"},
	"ofService": {"client", "group", "service"},
}

// eventsInSource reads every event that the code tells of.
func eventsInSource(t *testing.T) map[string]happening {
	s := &source{t: t, events: make(map[string]happening)}
	root := filepath.Join("..", "..")
	require.NoError(t, filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go"):
			return err
		case path == filepath.Join(root, "event.go"), path == filepath.Join(root, "log.go"):
			return nil // what Tell and SlogLogger themselves do
		}
		f, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
		require.NoError(t, err)
		for _, d := range f.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok && fn.Body != nil {
				s.functions = append(s.functions, fn)
			}
		}
		return nil
	}))
	for _, fn := range s.functions {
		ast.Inspect(fn, func(n ast.Node) bool {
			if call, ok := n.(*ast.CallExpr); ok {
				s.see(fn, call)
			}
			return true
		})
	}
	return s.events
}

func (s *source) see(fn *ast.FuncDecl, call *ast.CallExpr) {
	switch name(call.Fun) {
	case "Tell":
		event := s.text(call.Args[2])
		e, ok := s.events[event]
		if !ok {
			e = happening{make(map[string]bool), make(map[string]bool)}
			s.events[event] = e
		}
		for _, level := range s.levelsOf(fn, call.Args[1]) {
			e.levels[level] = true
		}
		for _, key := range s.keysOf(fn, call.Args[3]) {
			e.keys[key] = true
		}
	case "Debug", "Info", "Warn", "Error":
		if on, ok := call.Fun.(*ast.SelectorExpr); ok && slices.Contains([]string{"log", "Logger"}, name(on.X)) {
			require.Fail(s.t, "a line that is no event", "%s: pool.Tell has a name and facts", fn.Name.Name)
		}
	}
}

// name is the last word of a name, pkg.Tell's for instance.
func name(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.Ident:
		return e.Name
	case *ast.SelectorExpr:
		return e.Sel.Name
	}
	return ""
}

func (s *source) text(e ast.Expr) string {
	lit, ok := e.(*ast.BasicLit)
	require.True(s.t, ok, "%#v: names and keys of events stand as they are, so that they can be found", e)
	text, err := strconv.Unquote(lit.Value)
	require.NoError(s.t, err)
	return text
}

// levelsOf is the level that stands there, or those that a variable gets.
func (s *source) levelsOf(fn *ast.FuncDecl, e ast.Expr) (levels []string) {
	if level, ok := strings.CutPrefix(name(e), "Level"); ok {
		return []string{strings.ToLower(level)}
	}
	for _, value := range assigned(fn, name(e)) {
		levels = append(levels, s.levelsOf(fn, value)...)
	}
	return levels
}

// keysOf are the keys of facts: of a literal, of what is appended to others, of
// a variable or a parameter.
func (s *source) keysOf(fn *ast.FuncDecl, e ast.Expr) (keys []string) {
	switch e := e.(type) {
	case *ast.CompositeLit:
		return s.evens(e.Elts)
	case *ast.CallExpr:
		if name(e.Fun) == "append" {
			return append(s.keysOf(fn, e.Args[0]), s.evens(e.Args[1:])...)
		}
		require.Contains(s.t, begins, name(e.Fun))
		return append(slices.Clone(begins[name(e.Fun)]), s.evens(e.Args)...)
	case *ast.Ident:
		if e.Name == "nil" {
			return nil
		}
		for _, value := range assigned(fn, e.Name) {
			if call, ok := value.(*ast.CallExpr); ok && name(call.Fun) == "append" && name(call.Args[0]) == e.Name {
				keys = append(keys, s.evens(call.Args[1:])...) // to itself
				continue
			}
			keys = append(keys, s.keysOf(fn, value)...)
		}
		for at, parameter := range parameters(fn) {
			if parameter == e.Name {
				keys = append(keys, s.givenTo(fn.Name.Name, at)...)
			}
		}
	}
	require.NotEmpty(s.t, keys, "%s: these facts cannot be followed", fn.Name.Name)
	return keys
}

// evens are the keys among keys and values.
func (s *source) evens(all []ast.Expr) (keys []string) {
	require.Zero(s.t, len(all)%2, "a key has no value")
	for i := 0; i < len(all); i += 2 {
		keys = append(keys, s.text(all[i]))
	}
	return keys
}

// givenTo are the keys of the facts that calls give a function.
func (s *source) givenTo(function string, at int) (keys []string) {
	for _, fn := range s.functions {
		ast.Inspect(fn, func(n ast.Node) bool {
			if call, ok := n.(*ast.CallExpr); ok && name(call.Fun) == function {
				keys = append(keys, s.keysOf(fn, call.Args[at])...)
			}
			return true
		})
	}
	return keys
}

func parameters(fn *ast.FuncDecl) (names []string) {
	for _, field := range fn.Type.Params.List {
		for _, n := range field.Names {
			names = append(names, n.Name)
		}
	}
	return names
}

// assigned is what a variable gets in a function.
func assigned(fn *ast.FuncDecl, variable string) (values []ast.Expr) {
	ast.Inspect(fn, func(n ast.Node) bool {
		if a, ok := n.(*ast.AssignStmt); ok && len(a.Lhs) == len(a.Rhs) {
			for i := range a.Lhs {
				if name(a.Lhs[i]) == variable {
					values = append(values, a.Rhs[i])
				}
			}
		}
		return true
	})
	return values
}

// sorted writes a set as the document does.
func sorted(set map[string]bool) string {
	return strings.Join(slices.Sorted(maps.Keys(set)), ", ")
}
