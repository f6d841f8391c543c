// Package service holds the two outer ends of a tunnel: the public listener
// that users come to, on the server, and the dial to the target, on the client.
package service
