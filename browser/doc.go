// Package browser holds the tests of the status page in a real Chromium without a
// window: it is a module of its own so that what drives a browser never enters the
// library's. They skip where there is no Chromium.
//
//	go test ./...
//
// What the page looked like is kept as PNG files in screenshots/, or in the
// directory that TUNNEL_SCREENSHOTS names.
package browser
