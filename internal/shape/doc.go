// Package shape bounds how many bytes a second pass. It moves none itself: who
// does asks it when to go on.
package shape
