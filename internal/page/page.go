// Package page is the status page of both programs: static files that ask the
// program they came from for api/v1/status and api/v1/history, and draw what it
// says. It knows nothing of where these come from.
//
// The files are plain HTML, CSS and JavaScript modules without a build step. They
// name everything relative to the page, so that it works below any path, and
// nothing outside of it. What a client or a user may have named is only ever set
// as text, and Policy holds should that go wrong once.
package page

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"net/http"
	"path"
	"time"
)

// Policy is the Content-Security-Policy that the page is served with: its own
// files, its own program, and nothing else; in nobody's frame.
const Policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; " +
	"connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

//go:embed index.html style.css icon.svg *.js
var files embed.FS

// types are named here, since what the mime package says depends on the system.
var types = map[string]string{
	".html": "text/html; charset=utf-8",
	".css":  "text/css; charset=utf-8",
	".js":   "text/javascript; charset=utf-8",
	".svg":  "image/svg+xml",
}

// asset is one file as it is served.
type asset struct {
	content   []byte
	mediaType string
	tag       string // ETag: files change with the program only, but without a new name
}

// Handler serves GET and HEAD of "/" and of the files that it names, and nothing
// else: for other paths it answers 404.
func Handler() http.Handler {
	assets := load()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a, ok := assets[r.URL.Path]
		if !ok {
			http.NotFound(w, r)
			return
		}
		h := w.Header()
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			h.Set("Allow", "GET, HEAD")
			http.Error(w, "method not allowed", http.StatusMethodNotAllowed)
			return
		}
		h.Set("Content-Type", a.mediaType)
		h.Set("Content-Security-Policy", Policy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cache-Control", "no-cache") // kept, but asked about each time
		h.Set("ETag", a.tag)
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(a.content))
	})
}

// load is the embedded files by the path they are served at.
func load() map[string]asset {
	entries, err := files.ReadDir(".")
	if err != nil {
		panic(err) // not without a mistake in this package: they are in the program
	}
	assets := make(map[string]asset, len(entries))
	for _, e := range entries {
		content, err := files.ReadFile(e.Name())
		if err != nil {
			panic(err)
		}
		at := "/" + e.Name()
		if e.Name() == "index.html" {
			at = "/"
		}
		sum := sha256.Sum256(content)
		assets[at] = asset{content, types[path.Ext(e.Name())], `"` + hex.EncodeToString(sum[:12]) + `"`}
	}
	return assets
}
