//go:build !unix

package main

import (
	"fmt"
	"os"
)

func main() {
	fmt.Fprintln(os.Stderr, "soak: it stops and kills programs by signals, which this system does not have")
	os.Exit(2)
}
