// Package testnet makes real networks to break: two network namespaces of the
// Linux kernel, joined by a link with a delay, whose packets can be lost by a
// switch, by chance or by a packet filter. Programs and sockets live in the
// namespaces; between them lies the kernel's own TCP, and no proxy.
//
// The link is a TUN device in each namespace and a queue for each direction
// between them. Nothing has a name outside the process that made it: when that
// ends, in whatever way, the kernel takes namespaces, devices and filters away.
//
// It is for tests and benchmarks, needs root on Linux, and says so elsewhere,
// see [Available]. What is measured over a link has a simulated delay, and
// should be labelled so.
package testnet
