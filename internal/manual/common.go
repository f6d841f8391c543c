package manual

// Common are the chapters that hold for both programs.
var Common = []Section{
	{"SETTINGS", `Every flag of PROGRAM itself is also a variable of the environment and a line of
the file that --config, or TUNNEL_CONFIG, names: --pool-max 64 is TUNNEL_POOL_MAX=64,
and pool-max: 64 in the file. A flag goes before the variable, that before the
file, and what is higher replaces what is lower. Several values of one flag have
spaces between them in a variable, or stand one a line; in the file they are a list,
or NAME: VALUE below the setting for NAME=VALUE. Files and directories in the file
are relative to its own directory. The key does not stand there; key-file names
its file.

A change of the file is taken while PROGRAM runs, or refused as a whole with a line
in the log. Certificates and keys are followed likewise.`},
	{"ENVIRONMENT", `TUNNEL_KEY is the tunnel's key, where there is no --key-file. STATE_DIRECTORY
is the state directory, where there is no --state-dir; systemd sets it. NO_COLOR,
with any value, keeps colours out, and TERM=dumb also what moves the cursor.

NOTIFY_SOCKET, WATCHDOG_USEC and LISTEN_FDS are systemd's words, see
systemd.service(5): PROGRAM tells it when it is ready, how it does and that it
lives.`},
	{"FILES", `The state directory is /var/lib/tunnelpool for root, else tunnelpool in
$XDG_STATE_HOME or ~/.local/state. In it are the key, for a server the keys of its
clients (keys.yaml), and for a client its identity. Nobody else may read it.`},
	{"SIGNALS", `SIGTERM and SIGINT end PROGRAM once its streams have ended, or after --drain. A
second one ends it at once. SIGHUP has it read the file of --config again; without
that it ends PROGRAM.`},
	{"EXIT STATUS", `0: it did what it should. 1: it ran, and failed. 2: a mistake on the command line
or in what it names; nothing was started.`},
	{"SEE ALSO", `tunnel-server(1), tunnel-client(1), systemd.socket(5)`},
}
