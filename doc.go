// Package pool keeps network connections ready: dialed, encrypted, authenticated
// and proven alive before anybody asks for one. There are pools in pairs, whose
// other end is a pool too, and single-ended ones, to any server.
//
// # Pairs
//
// A client pool ([NewClient], [NewClientPool]) runs where connections can only
// be dialed from, behind NAT for instance, and keeps a number of them open to a
// server pool ([NewServer], [NewServerPool]) on a public host. The server pool
// gives each an 8-byte ID and hands them out to whoever comes. The client pool
// takes the other end of the same connection by that ID. How the ID travels
// from one to the other is the program's affair.
//
//	user ─▶ server.ServerGet ─▶ id, conn ═══ warm connection ═══ conn ◀─ client.ClientGet(id) ─▶ target
//	                             └────────── the program's own channel ──────────┘
//
// The functions and methods of NodePass's pool package are all here under
// their names: NewClientPool, NewServerPool, ClientManager, ServerManager,
// ClientGet, ServerGet (OutgoingGet and IncomingGet in its v1.0.50), Put and so
// on. New code uses the config structs and contexts: NewClient, NewServer,
// [Pool.Run], [Pool.Get], [Pool.Take] and [Pool.Drain].
//
// # Single-ended pools
//
// [NewLocal] makes a pool of connections to a server that knows nothing of pools:
// a database, an SSH server, whatever speaks over TCP, TLS or a Unix socket. Its
// hooks speak the server's protocol: Setup logs in, Check proves a connection
// alive, Goodbye takes leave. A [Group] keeps one such pool for each key, on
// demand.
//
//	user ─▶ Do(ctx, f) ─▶ Get ─▶ f(conn) ─▶ Put, or Discard when f failed
//
// # Reuse
//
// [Limits] say, for every kind of pool, how many connections there are, how long
// and how often each is used again, and what happens to those who find none.
// What broke never comes back: [Pool.Discard], and [Pool.Do] for who returns an
// error.
//
// # Who owns what
//
// A pool owns its idle connections and closes them when they die, when it is
// full, and in Close. A connection that was handed out is its holder's alone,
// as a *[Conn], until the holder gives it back with [Pool.Put] or ends it with
// [Conn.Close]; one of the two must happen. Either kills the handle for good,
// so that whoever still has it cannot reach the next holder. A server pool owns
// its listener. The functions that take a connection in, [Pool.Admit] and
// [Security.Secure], own it from the call on and close it on error. Hooks borrow a
// connection while they run; what Setup builds on it may go on using it.
//
// Put is for connections on which nothing is on its way: the two users have
// agreed, in their own protocol, that both are done. The pool closes what
// visibly is not fit for another holder, but bytes still under way it cannot
// see.
//
// # Concurrency
//
// Everything is safe for concurrent use. Getters that wait are served in order
// of arrival. Get, Take and Put take the same time whatever the number of idle
// connections, hold one lock, and do no input or output under it. Each pool
// runs its own goroutines in [Pool.Run], and [Pool.Close] returns when all of
// them are gone.
//
// # Security
//
// Connections are plain TCP, TLS 1.3 with any certificate, or TLS 1.3 with a
// verified one ([TLSMode]). With a [Key] both sides prove that they hold it
// before anything else is said; under TLS the proof is bound to the session.
// Without a key whoever can reach the server's port is let in, is given an ID,
// and may be handed to a user: only ServerConfig.ClientIP is in the way.
//
// [Acceptor] and [Security] are the two sides of this as parts of their own,
// for programs that bring other kinds of connection through the same port.
//
// # Liveness
//
// Each hand-out, and a sweep about once a second, looks at the socket without
// reading. A connection that the peer has closed is not handed out, and leaves
// the pool within two seconds. A single-ended pool can also ask the server
// (LocalConfig.Check), on a period and before a hand-out; on a pair nothing may
// be written to an idle connection. Where a connection gives no access to a socket,
// and on systems without such a look, that rests on what the holder's first
// bytes meet. A peer that vanished without a word is noticed by TCP keep-alive.
//
// # What it does not do
//
// It does not carry IDs from server to client, multiplex streams, delimit
// messages, relay bytes, retry what a holder sent, or, in a pair, tell whether the
// peer's program still works behind a socket that is open. The package
// github.com/tunnelpool/pool/tunnel builds a tunnel on it that does.
//
// What goes over the wire is specified byte by byte in docs/PROTOCOL.md.
package pool
