// Package notify tells the service manager that started a program how it does, by
// the protocol of systemd's sd_notify(3): ready, reloading, stopping, a line for
// people, and signs of life for its watchdog. Where nobody asked, because
// NOTIFY_SOCKET is not set, it does nothing.
//
// The protocol is a datagram with a few words, written here: the library of the
// field writes it without a deadline, and a manager that does not read would
// hold up the end of the program.
package notify
