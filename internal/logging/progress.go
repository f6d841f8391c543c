package logging

import (
	"fmt"
	"log/slog"
	"os"
)

// wipeLine returns to the begin of a terminal's line and empties it.
const wipeLine = "\r\x1b[K"

// ShowsProgress reports whether Progress can show anything.
func (l *Logger) ShowsProgress() bool { return l.terminal }

// Progress shows a line that replaces the one before it, below all others, until
// it is called with "". It does nothing but on a terminal with the text format,
// and at levels that hold back info too. The text is short: a line of a terminal.
func (l *Logger) Progress(text string) {
	l.out.Lock()
	defer l.out.Unlock()
	if !l.terminal || !l.written(slog.LevelInfo) {
		text = ""
	}
	if text == l.progress {
		return
	}
	l.wipe()
	l.progress = text
	l.draw()
}

// wipe makes room for a line, and draw puts the progress below it again.
func (l *Logger) wipe() {
	if l.progress != "" {
		fmt.Fprint(os.Stdout, wipeLine)
	}
}

func (l *Logger) draw() {
	if l.progress != "" {
		fmt.Fprint(os.Stdout, l.progress)
	}
}
