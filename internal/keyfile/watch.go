package keyfile

import (
	"context"
	"errors"
	"os"
	"time"
)

const (
	// lookEvery is how often the file is looked at, which costs one system call.
	// A change is applied when two looks find the same, so that nobody is cut off
	// by a file that is just being written.
	lookEvery = 200 * time.Millisecond

	// fresh is how old the time of change must be until it shows that there was
	// no further one: file systems keep it in steps.
	fresh = 2 * time.Second
)

// Watch follows the file until ctx ends. apply is told, one call at a time, of
// every content that is another than the one before, the first time another than
// that of known: as a File, or as the error that makes it none.
func Watch(ctx context.Context, path string, known File, apply func(File, error)) {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	w := watch{path: path, current: content{data: known.data}, stat: stat{size: -1}}
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			if now, ok := w.look(); ok {
				apply(now.file(path))
			}
		}
	}
}

// watch is what the looks so far have found.
type watch struct {
	path      string
	stat      stat
	current   content
	candidate *content // found once
}

// stat tells that a file is another without its being read. Without a file it is
// the zero value.
type stat struct {
	at   time.Time // of the last change
	size int64
	info os.FileInfo
}

func statOf(path string) stat {
	info, err := os.Stat(path)
	if err != nil {
		return stat{}
	}
	return stat{info.ModTime(), info.Size(), info}
}

func (a stat) same(b stat) bool {
	return a.at.Equal(b.at) && a.size == b.size && (a.info == nil) == (b.info == nil) &&
		(a.info == nil || os.SameFile(a.info, b.info))
}

// content is what a file holds, or why it cannot be read.
type content struct{ data, problem string }

func contentOf(path string) content {
	data, err := read(path)
	if err != nil {
		return content{problem: err.Error()}
	}
	return content{data: string(data)}
}

func (c content) file(path string) (File, error) {
	if c.problem != "" {
		return File{}, errors.New(c.problem)
	}
	return parseAt(path, []byte(c.data))
}

// look returns what is new and has lasted for two looks.
func (w *watch) look() (content, bool) {
	before := w.stat
	w.stat = statOf(w.path)
	if w.candidate == nil && w.stat.same(before) && time.Since(w.stat.at) >= fresh {
		return content{}, false
	}
	now := contentOf(w.path)
	switch {
	case now == w.current:
		w.candidate = nil
		return content{}, false
	case w.candidate == nil || now != *w.candidate:
		w.candidate = &now
		return content{}, false
	}
	w.current, w.candidate = now, nil
	return now, true
}
