package keyfile

import (
	"context"

	"github.com/tunnelpool/pool/internal/watch"
)

// Watch follows the file until ctx ends. apply is told, one call at a time, of
// every content that is another than the one before, the first time another than
// that of known: as a File, or as the error that makes it none.
func Watch(ctx context.Context, path string, known File, apply func(File, error)) {
	list := []watch.File{{Path: path, Read: read, Known: watch.Content{Data: known.data}}}
	watch.Files(ctx, func() []watch.File { return list }, nil, func(now map[string]watch.Content) {
		if err := now[path].Err; err != nil {
			apply(File{}, err)
			return
		}
		apply(parseAt(path, []byte(now[path].Data)))
	})
}
