package manual

// Common are the chapters that hold for both programs.
var Common = []Section{
	{"CONFIGURATION", `Every flag of PROGRAM itself can also be given as a variable, TUNNEL_ and its
name in capitals with _ for -, and as a line of the YAML file that --config names,
by its name. A flag counts before a variable, a variable before the file.

  --log-level debug
  TUNNEL_LOG_LEVEL=debug
  log-level: debug`},
	{"ENVIRONMENT", `TUNNEL_KEY is the tunnel's key, where there is no --key-file. STATE_DIRECTORY
is the state directory, where there is no --state-dir; systemd sets it. NO_COLOR,
with any value, keeps colours out of the log.

NOTIFY_SOCKET, WATCHDOG_USEC and LISTEN_FDS are systemd's words, see
systemd.service(5): PROGRAM tells it when it is ready, how it does and that it
lives.`},
	{"FILES", `The state directory is /var/lib/tunnelpool for root, else tunnelpool in
$XDG_STATE_HOME or ~/.local/state. In it are the key, for a server the keys of its
clients (keys.yaml), and for a client its identity. Nobody else may read it.`},
	{"SIGNALS", `SIGTERM and SIGINT end PROGRAM once its streams have ended, or after --drain. A
second one ends it at once.`},
	{"EXIT STATUS", `0: it did what it should. 1: it ran, and failed. 2: a mistake on the command line
or in what it names; nothing was started.`},
	{"SEE ALSO", `tunnel-server(1), tunnel-client(1), systemd.socket(5)`},
}
