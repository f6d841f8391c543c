module github.com/tunnelpool/pool/bench

go 1.25.0

require (
	github.com/hashicorp/yamux v0.1.2
	github.com/tunnelpool/pool v0.0.0
	golang.org/x/sys v0.45.0
)

require golang.org/x/time v0.15.0 // indirect

replace github.com/tunnelpool/pool => ../
