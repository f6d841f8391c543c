//go:build !unix

package relay

// canPark: where sockets cannot be read directly a read holds its buffer.
const canPark = false

func readSocket(uintptr, []byte) (n int, again bool, err error) { panic("not used") }
