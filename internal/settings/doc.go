// Package settings gives a program's flags the values that its environment and
// its configuration file have for them. One flag is one setting: --pool-min is
// the variable TUNNEL_POOL_MIN and the line "pool-min: …" of the file. A flag that
// is given goes before the variable, and that before the file.
//
// The flags stay what the program reads. What package settings adds is where a
// value came from, so that errors can say so ([Settings.Explain]), and how to read
// all of it once more ([Settings.Again]).
package settings
