// Package keyfile is the file of a server's keys, keys.yaml: what it says, how
// commands change it without losing what a person wrote, and how a running
// server follows it.
package keyfile
