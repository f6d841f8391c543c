// Package packaging has no code: its tests hold that what installs the programs,
// in deploy/, .goreleaser.yaml and docs/INSTALL.md, fits them.
package packaging
