// Package watch follows files that a person or another program changes. It looks at
// them now and then, which works on every system and every file system.
package watch

import (
	"context"
	"fmt"
	"io"
	"os"
	"time"
)

const (
	// lookEvery is how often files are looked at, which costs one system call each.
	// A change is told when two looks find the same, so that nothing is made of a
	// file that is just being written.
	lookEvery = 200 * time.Millisecond

	// fresh is how old the time of change must be until it shows that there was
	// no further one: file systems keep it in steps.
	fresh = 2 * time.Second
)

// File is a file to follow.
type File struct {
	Path  string
	Read  func(path string) ([]byte, error) // with bounds; errors name the file
	Known Content                           // told already
}

// Content is what a file holds, or why it cannot be read.
type Content struct {
	Data string
	Err  error
}

func (c Content) same(other Content) bool {
	return c.Data == other.Data && (c.Err == nil) == (other.Err == nil) &&
		(c.Err == nil || c.Err.Error() == other.Err.Error())
}

// Bounded reads a file of at most limit bytes.
func Bounded(path string, limit int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, limit+1)) // a pipe has no size to ask for beforehand
	if err == nil && int64(len(data)) > limit {
		err = fmt.Errorf("%s is larger than %d bytes", path, limit)
	}
	return data, err
}

// Files follows files until ctx ends. list says which they are; it is asked before
// every look. changed is told, one call at a time, when the content of one is
// another than before, the first time another than the known one, with the contents
// of all by their path. Files that are written one after the other, without a pause,
// are told together. What is sent on now has files read at once, and told whether
// they have changed or not; it may be nil. Pipes and their like are not read.
func Files(ctx context.Context, list func() []File, now <-chan os.Signal, changed func(map[string]Content)) {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	followed := make(map[string]*follower)
	for {
		demanded := false
		select {
		case <-ctx.Done():
			return
		case <-now:
			demanded = true
		case <-tick.C:
		}
		if look(followed, list(), demanded) {
			contents := make(map[string]Content)
			for path, f := range followed {
				contents[path] = f.current
			}
			changed(contents)
		}
	}
}

// look looks at all files of the list, makes followers of them, and reports whether
// there is something to tell.
func look(followed map[string]*follower, list []File, demanded bool) bool {
	listed := make(map[string]bool)
	settled := true
	for _, file := range list {
		listed[file.Path] = true
		f := followed[file.Path]
		if f == nil {
			f = &follower{File: file, current: file.Known, stat: stat{size: -1}}
			if info, err := os.Stat(file.Path); err == nil && !readable(info) {
				f.unread = true
			}
			followed[file.Path] = f
		}
		settled = f.look(demanded) && settled
	}
	news := demanded
	for path, f := range followed {
		if !listed[path] {
			delete(followed, path)
		} else if f.news && (settled || demanded) {
			news, f.news = true, false
		}
	}
	return news
}

// follower is what the looks at one file have found so far.
type follower struct {
	File
	unread    bool // it is no file
	stat      stat
	current   Content
	candidate *Content // found once
	news      bool     // current has not been told
}

// look reports whether the file has come to rest.
func (f *follower) look(demanded bool) bool {
	if f.unread {
		return true
	}
	before := f.stat
	f.stat = statOf(f.Path)
	if !demanded && f.candidate == nil && f.stat.same(before) && time.Since(f.stat.at) >= fresh {
		return true
	}
	data, err := f.read()
	now := Content{string(data), err}
	switch {
	case now.same(f.current):
		f.candidate = nil
		return true
	case !demanded && (f.candidate == nil || !now.same(*f.candidate)):
		f.candidate = &now
		return false
	}
	f.current, f.candidate, f.news = now, nil, true
	return true
}

// read reads what stands at the path now. A pipe that has come there is not opened:
// that would last until somebody writes to it.
func (f *follower) read() ([]byte, error) {
	if info := f.stat.info; info != nil && !readable(info) {
		return nil, fmt.Errorf("%s is no file any more, but a pipe or a device; put a file there", f.Path)
	}
	return f.Read(f.Path)
}

// readable tells what ends when it is read, or fails.
func readable(info os.FileInfo) bool { return info.Mode().IsRegular() || info.IsDir() }

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
