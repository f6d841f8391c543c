// Command soak runs the real tunnel-server and tunnel-client for a while, with
// users of every manner on one side, a target that counts on the other and a
// network between them that stalls, cuts and loses, kills and freezes the
// programs, and holds that
//
//   - every byte that a user or the target got is the one that was sent, by hash;
//   - no request reaches the target twice, and nothing ends in order that is not
//     whole: what is lost is lost with a reset;
//   - users who are not hit by a fault that may cut them are served;
//   - memory, descriptors and goroutines stay flat.
//
// It exits with status 1 and says what is wrong when something is. With
// -connections it opens many user connections at once instead, half of them
// active, and prints what one costs.
//
//	go run ./internal/soak -for 60s
//	go run ./internal/soak -connections 10000
//
// It is a tool of the project's own tests, and not released. It needs Unix, and
// for memory and descriptors Linux.
package main
