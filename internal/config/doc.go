// Package config reads what a person gives the commands: the -R grammar, the
// state directory, key files and the client's identity. It never starts
// anything, and what is secret never gets into its errors.
package config
