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
	"time"
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
	cfg, req, err := parse(args, stdout)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		fmt.Fprintf(stderr, "jsonsocket: %v; --help shows what there is\n", err)
		return 2
	}
	return status(ask(ctx, cfg, req, stdout), stderr)
}

func status(err error, stderr io.Writer) int {
	if err == nil {
		return 0
	}
	fmt.Fprintf(stderr, "jsonsocket: %v\n", err)
	return 1
}

// parse reads the command line; help goes to stdout.
func parse(args []string, stdout io.Writer) (Config, request, error) {
	var cfg Config
	flags := flag.NewFlagSet("jsonsocket", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	flags.StringVar(&cfg.Server, "server", "", "the server's `HOST:PORT`")
	flags.DurationVar(&cfg.Timeout, "timeout", 15*time.Second, "how long a whole answer may take")
	flags.IntVar(&cfg.MaxUses, "max-uses", 100, "retire a connection after `N` requests; 0: never")
	flags.IntVar(&cfg.MaxAnswer, "max-answer", 16<<20, "the largest answer, in `bytes`")
	flags.IntVar(&cfg.Connections, "connections", 4, "have at most `N` connections")
	flags.StringVar(&cfg.Check, "check", "", "prove idle connections alive by a request of this `TYPE`, which must do no harm")
	if err := flags.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			fmt.Fprint(stdout, usage)
			flags.SetOutput(stdout)
			flags.PrintDefaults()
		}
		return cfg, request{}, err
	}
	if cfg.Server == "" {
		return cfg, request{}, errors.New("--server HOST:PORT is missing")
	}
	if _, _, err := net.SplitHostPort(cfg.Server); err != nil {
		return cfg, request{}, fmt.Errorf("--server %q is not HOST:PORT", cfg.Server)
	}
	if cfg.Timeout <= 0 || cfg.MaxAnswer <= 0 || cfg.Connections <= 0 || cfg.MaxUses < 0 {
		return cfg, request{}, errors.New("--timeout, --max-answer and --connections are above 0, --max-uses is not below")
	}
	req := request{Type: flags.Arg(0)}
	switch flags.NArg() {
	case 0:
		return cfg, req, errors.New("the TYPE of the request is missing")
	case 1:
	case 2:
		req.Params = json.RawMessage(flags.Arg(1))
		if !json.Valid(req.Params) {
			return cfg, req, fmt.Errorf("the parameters %q are not JSON", flags.Arg(1))
		}
	default:
		return cfg, req, fmt.Errorf("too much after TYPE and JSON-PARAMS: %q; flags go first", flags.Arg(2))
	}
	return cfg, req, nil
}

// ask sends one request and prints the result.
func ask(ctx context.Context, cfg Config, req request, stdout io.Writer) error {
	client, err := NewClient(cfg)
	if err != nil {
		return err
	}
	defer client.Close()
	if err := client.Reach(ctx); err != nil {
		return err
	}
	result, err := client.Call(ctx, req.Type, req.Params)
	if err != nil {
		return err
	}
	var text bytes.Buffer
	if err := json.Indent(&text, result, "", "  "); err != nil {
		return err
	}
	_, err = fmt.Fprintln(stdout, text.String())
	return err
}
