//go:build !linux

package notify

// reloading are the words for the begin of a reload.
func reloading() []string { return []string{"RELOADING=1"} }
