// Package wakeup notices, from this machine alone, that a connection is not
// worth keeping or that it is worth to dial again now: the address that the
// connection was made from is gone, another one came, or the machine slept.
// Without it a heartbeat tells the first after several beats, and a pause
// between dials goes on although the network is back.
//
// It looks about once a second, with what every system offers, and asks nobody
// on the network. What does not change the connection's own address, such as
// another interface, a link-local or a temporary address, is no reason to give
// it up; nor is a route that changed, which the heartbeats find.
package wakeup
