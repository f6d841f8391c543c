// Command jsonsocket asks a server that takes JSON objects on a TCP socket and
// answers each with one, with no length and no line break between them, as
// Blender's MCP add-on does:
//
//	{"type": "get_object_info", "params": {"name": "Cube"}}
//	{"status": "success", "result": {"name": "Cube"}}
//
// It shows how a pool lets many share such a server: an answer is bounded in
// time and size and checked before anybody believes it; a connection goes on
// after an error of the server's own, never after a late or broken answer, which
// could be taken for the next one's; and each is retired after a number of
// requests.
//
//	go run ./examples/jsonsocket demo
//	go run ./examples/jsonsocket --server localhost:9876 get_scene_info
//	go run ./examples/jsonsocket --server localhost:9876 --timeout 5s get_object_info '{"name": "Cube"}'
//	go run ./examples/jsonsocket --server localhost:9876 --times 500 --max-uses 100 get_scene_info
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tunnelpool/pool"
)

const usage = `usage: jsonsocket --server HOST:PORT [flags] TYPE [JSON-PARAMS]
       jsonsocket demo

flags:
`

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// run is the command. It returns the exit status: 1 for a request that failed,
// 2 for a command line that is wrong.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	if len(args) == 1 && args[0] == "demo" {
		return status(demo(ctx, stdout), stderr)
	}
	j, err := parse(args, stdout)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		fmt.Fprintf(stderr, "jsonsocket: %v; --help shows what there is\n", err)
		return 2
	}
	return status(j.do(ctx, stdout), stderr)
}

func status(err error, stderr io.Writer) int {
	if err == nil {
		return 0
	}
	fmt.Fprintf(stderr, "jsonsocket: %v\n", err)
	return 1
}

// job is what the command line asks for.
type job struct {
	Config
	request
	times int
}

// parse reads the command line; help goes to stdout.
func parse(args []string, stdout io.Writer) (*job, error) {
	j := new(job)
	flags := flag.NewFlagSet("jsonsocket", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	flags.StringVar(&j.Server, "server", "", "the server's `HOST:PORT`")
	flags.DurationVar(&j.Timeout, "timeout", 15*time.Second, "how long a whole answer may take")
	flags.IntVar(&j.MaxUses, "max-uses", 100, "retire a connection after `N` requests; 0: never")
	flags.IntVar(&j.MaxAnswer, "max-answer", 16<<20, "the largest answer, in `bytes`")
	flags.IntVar(&j.Connections, "connections", 4, "have at most `N` connections, and with --times as many users")
	flags.IntVar(&j.times, "times", 1, "send the request `N` times")
	flags.StringVar(&j.Check, "check", "", "prove connections alive, new and idle ones, by a request of this `TYPE`, which must do no harm")
	if err := flags.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			fmt.Fprint(stdout, usage)
			flags.SetOutput(stdout)
			flags.PrintDefaults()
		}
		return nil, err
	}
	if j.Server == "" {
		return nil, errors.New("--server HOST:PORT is missing")
	}
	if _, _, err := net.SplitHostPort(j.Server); err != nil {
		return nil, fmt.Errorf("--server %q is not HOST:PORT", j.Server)
	}
	if j.Timeout <= 0 || j.MaxAnswer <= 0 || j.Connections <= 0 || j.times <= 0 || j.MaxUses < 0 {
		return nil, errors.New("--timeout, --max-answer, --connections and --times are above 0, --max-uses is not below")
	}
	j.Type = flags.Arg(0)
	switch flags.NArg() {
	case 0:
		return nil, errors.New("the TYPE of the request is missing")
	case 1:
	case 2:
		j.Params = json.RawMessage(flags.Arg(1))
		if !json.Valid(j.Params) {
			return nil, fmt.Errorf("the parameters %q are not JSON", flags.Arg(1))
		}
	default:
		return nil, fmt.Errorf("too much after TYPE and JSON-PARAMS: %q; flags go first", flags.Arg(2))
	}
	return j, nil
}

// do sends the request, as often as wanted, and prints the result of one.
func (j *job) do(ctx context.Context, stdout io.Writer) error {
	client, err := NewClient(j.Config)
	if err != nil {
		return err
	}
	defer client.Close()
	if err := client.Reach(ctx); err != nil {
		return err
	}
	if j.times > 1 {
		return j.many(ctx, client, stdout)
	}
	result, err := client.Call(ctx, j.Type, j.Params)
	if err != nil {
		return err
	}
	if result == nil {
		return nil // it has been done, and there is nothing to say
	}
	var text bytes.Buffer
	if err := json.Indent(&text, result, "", "  "); err != nil {
		return err
	}
	_, err = fmt.Fprintln(stdout, text.String())
	return err
}

// many sends the request until there are enough answers, or one fails, and
// prints how that went.
func (j *job) many(ctx context.Context, client *Client, stdout io.Writer) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var sent atomic.Int64
	var wg sync.WaitGroup
	began := time.Now()
	for range j.Connections {
		wg.Go(func() {
			for sent.Add(1) <= int64(j.times) {
				if _, err := client.Call(ctx, j.Type, j.Params); err != nil {
					cancel(err) // the first is the one that is told, and ends the others
					return
				}
			}
		})
	}
	wg.Wait()
	if err := context.Cause(ctx); err != nil {
		return err
	}
	_, err := fmt.Fprintf(stdout, "%d answers in %v over at most %d connections at once; %d were retired\n",
		j.times, time.Since(began).Round(time.Millisecond), j.Connections, client.pool.Stats().Closed[pool.ClosedUses])
	return err
}
