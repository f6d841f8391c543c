module github.com/tunnelpool/pool/examples/ssh

go 1.25.0

require (
	github.com/stretchr/testify v1.12.1
	github.com/tunnelpool/pool v0.0.0
	go.uber.org/goleak v1.3.0
	golang.org/x/crypto v0.53.0
)

require (
	go.yaml.in/yaml/v3 v3.0.6 // indirect
	golang.org/x/sys v0.47.0 // indirect
	golang.org/x/time v0.15.0 // indirect
)

replace github.com/tunnelpool/pool => ../../
