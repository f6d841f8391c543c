package manual

import (
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/tunnelpool/pool/internal/cli"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestWrite(t *testing.T) {
	run := func(*cobra.Command, []string) error { return nil }
	root := &cobra.Command{Use: "prog PLACE", Short: "Do it", RunE: run, Example: "  prog 'here'",
		Long: "prog does it, on\nlines.\n\n  -x \\ as it stands\n\n.not a request"}
	root.Flags().StringArrayP("thing", "x", nil, "a `NAME` as in a~b; repeatable")
	root.Flags().Int("number", 7, "how many")
	root.Flags().Bool("quick", false, "hurry")
	root.Flags().String("secret", "", "")
	root.Flags().MarkHidden("secret")
	leaf := &cobra.Command{Use: "leaf [NAME]", Short: "A leaf …", RunE: run}
	root.AddCommand(leaf, &cobra.Command{Use: "hidden", Hidden: true, RunE: run})
	var b strings.Builder
	require.NoError(t, Write(&b, root, cli.Build{Version: "v1.2.3", Date: "2026-11-21T23:30:00-02:00"}, Section{"FILES", "PROGRAM has none."}))
	require.Equal(t, `.TH "PROG" 1 "2026-11-22" "tunnelpool v1.2.3" "User Commands"
.nh
.ad l
.SH "NAME"
prog \- Do it
.SH "SYNOPSIS"
\fBprog\fR PLACE [flags]
.br
\fBprog leaf\fR [NAME]
.SH "DESCRIPTION"
prog does it, on lines.
.PP
.nf
.RS 4
\-x \e as it stands
.RE
.fi
.PP
\&.not a request
.SH "OPTIONS"
.TP
\fB\-\-number\fR \fIint\fR
how many (default 7)
.TP
\fB\-\-quick\fR
hurry
.TP
\fB\-x\fR, \fB\-\-thing\fR \fINAME\fR
a NAME as in a\(tib; repeatable
.SH "COMMANDS"
.SS "leaf [NAME]"
A leaf \[u2026].
.SH "FILES"
prog has none.
.SH "EXAMPLES"
.nf
.RS 4
prog \(aqhere\(aq
.RE
.fi
`, b.String())
}

// The command prints the page of its tree, and its example names the program.
func TestCommand(t *testing.T) {
	root := &cobra.Command{Use: "prog", Short: "Do it"}
	root.AddCommand(Command(root))
	var b strings.Builder
	root.SetOut(&b)
	root.SetArgs([]string{"man"})
	require.NoError(t, root.Execute())
	require.Contains(t, b.String(), `prog man | man \-l \-`)
}
