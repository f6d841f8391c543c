package interop

import (
	"go/ast"
	"go/build"
	"go/parser"
	"go/token"
	"reflect"
	"slices"
	"strings"
	"testing"

	nodepass "github.com/NodePassProject/pool"
	"github.com/stretchr/testify/require"

	tunnelpool "github.com/tunnelpool/pool"
)

// functions are v1.0.50's and ours of the same name.
var functions = map[string][2]any{
	"NewClientPool": {nodepass.NewClientPool, tunnelpool.NewClientPool},
	"NewServerPool": {nodepass.NewServerPool, tunnelpool.NewServerPool},
}

// TestEveryNameIsHere: a program that compiles with v1.0.50 does with ours. All
// that it exports are two functions and a type without exported fields, and ours
// have the same signatures but for the type.
func TestEveryNameIsHere(t *testing.T) {
	require.Equal(t, []string{"NewClientPool", "NewServerPool", "Pool"}, exported(t))
	theirs, ours := reflect.TypeFor[*nodepass.Pool](), reflect.TypeFor[*tunnelpool.Pool]()
	for i := range theirs.Elem().NumField() {
		require.False(t, theirs.Elem().Field(i).IsExported())
	}
	for name, f := range functions {
		requireSame(t, name, reflect.TypeOf(f[0]), reflect.TypeOf(f[1]), 0)
	}
	require.Equal(t, 13, theirs.NumMethod())
	for i := range theirs.NumMethod() {
		m := theirs.Method(i)
		own, ok := ours.MethodByName(m.Name)
		require.True(t, ok, m.Name)
		requireSame(t, m.Name, m.Type, own.Type, 1) // the first is the receiver
	}
}

// requireSame compares signatures: pools stand where pools do, and all else is
// assignable both ways.
func requireSame(t *testing.T, name string, theirs, ours reflect.Type, skip int) {
	t.Helper()
	require.Equal(t, theirs.NumIn(), ours.NumIn(), name)
	require.Equal(t, theirs.NumOut(), ours.NumOut(), name)
	require.Equal(t, theirs.IsVariadic(), ours.IsVariadic(), name)
	same := func(a, b reflect.Type) {
		if a == reflect.TypeFor[*nodepass.Pool]() {
			a = reflect.TypeFor[*tunnelpool.Pool]()
		}
		require.True(t, a.AssignableTo(b) && b.AssignableTo(a), "%s: %v and %v", name, a, b)
	}
	for i := skip; i < theirs.NumIn(); i++ {
		same(theirs.In(i), ours.In(i))
	}
	for i := range theirs.NumOut() {
		same(theirs.Out(i), ours.Out(i))
	}
}

// exported are the names that v1.0.50's source exports, but for methods.
func exported(t *testing.T) (names []string) {
	at, err := build.Import("github.com/NodePassProject/pool", ".", 0)
	require.NoError(t, err)
	for _, file := range at.GoFiles {
		f, err := parser.ParseFile(token.NewFileSet(), at.Dir+"/"+file, nil, parser.SkipObjectResolution)
		require.NoError(t, err)
		for _, d := range f.Decls {
			switch d := d.(type) {
			case *ast.FuncDecl:
				if d.Recv == nil {
					names = append(names, d.Name.Name)
				}
			case *ast.GenDecl:
				for _, s := range d.Specs {
					switch s := s.(type) {
					case *ast.TypeSpec:
						names = append(names, s.Name.Name)
					case *ast.ValueSpec:
						for _, n := range s.Names {
							names = append(names, n.Name)
						}
					}
				}
			}
		}
	}
	names = slices.DeleteFunc(names, func(n string) bool { return !ast.IsExported(n) })
	slices.SortFunc(names, strings.Compare)
	return names
}
