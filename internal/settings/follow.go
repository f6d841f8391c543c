package settings

import (
	"context"
	"os"

	"github.com/tunnelpool/pool/internal/watch"
)

// Follow tells apply, one call at a time, what becomes of the file, until ctx ends:
// its content whenever that is another, or why there is none; and whenever something
// comes on now, be it another or not. Without a file it returns at once.
func (s *Settings) Follow(ctx context.Context, now <-chan os.Signal, apply func(data []byte, err error)) {
	if s.Path == "" {
		return
	}
	list := []watch.File{{Path: s.Path, Read: Read, Known: watch.Content{Data: s.Content()}}}
	watch.Files(ctx, func() []watch.File { return list }, now, func(contents map[string]watch.Content) {
		apply([]byte(contents[s.Path].Data), contents[s.Path].Err)
	})
}
