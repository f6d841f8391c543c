package page

import (
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"regexp"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// ask is the answer of the handler, and its body.
func ask(t *testing.T, method, target string, header ...string) (*http.Response, string) {
	t.Helper()
	r := httptest.NewRequest(method, target, nil)
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	Handler().ServeHTTP(w, r)
	body, err := io.ReadAll(w.Result().Body)
	require.NoError(t, err)
	return w.Result(), string(body)
}

func TestHandlerServesThePageAndItsFiles(t *testing.T) {
	for target, mediaType := range map[string]string{
		"/":          "text/html; charset=utf-8",
		"/style.css": "text/css; charset=utf-8",
		"/script.js": "text/javascript; charset=utf-8",
		"/plot.js":   "text/javascript; charset=utf-8",
		"/icon.svg":  "image/svg+xml",
	} {
		res, body := ask(t, http.MethodGet, target)
		require.Equal(t, http.StatusOK, res.StatusCode, target)
		require.Equal(t, mediaType, res.Header.Get("Content-Type"), target)
		require.Equal(t, "nosniff", res.Header.Get("X-Content-Type-Options"))
		require.Equal(t, Policy, res.Header.Get("Content-Security-Policy"))
		require.NotEmpty(t, body)

		head, nothing := ask(t, http.MethodHead, target)
		require.Equal(t, http.StatusOK, head.StatusCode)
		require.Equal(t, res.Header.Get("Content-Type"), head.Header.Get("Content-Type"))
		require.EqualValues(t, len(body), head.ContentLength)
		require.Empty(t, nothing)
	}
}

// What a browser has is not sent again, and asked about each time: a program of
// another version has other files under the same names.
func TestHandlerKnowsWhatABrowserHas(t *testing.T) {
	res, _ := ask(t, http.MethodGet, "/style.css")
	require.Equal(t, "no-cache", res.Header.Get("Cache-Control"))
	tag := res.Header.Get("ETag")
	require.NotEmpty(t, tag)

	res, body := ask(t, http.MethodGet, "/style.css", "If-None-Match", tag)
	require.Equal(t, http.StatusNotModified, res.StatusCode)
	require.Empty(t, body)

	res, _ = ask(t, http.MethodGet, "/", "If-None-Match", tag)
	require.Equal(t, http.StatusOK, res.StatusCode, "the tag of another file")
}

func TestHandlerServesNothingElse(t *testing.T) {
	for _, target := range []string{"/index.html", "/page.go", "/page_test.go", "/metrics", "/style.css/", "//", "/../page.go"} {
		res, _ := ask(t, http.MethodGet, target)
		require.Equal(t, http.StatusNotFound, res.StatusCode, target)
	}
	for _, method := range []string{http.MethodPost, http.MethodPut, http.MethodDelete, http.MethodOptions} {
		res, _ := ask(t, method, "/")
		require.Equal(t, http.StatusMethodNotAllowed, res.StatusCode, method)
		require.Equal(t, "GET, HEAD", res.Header.Get("Allow"))
	}
}

// What a page names must be there under a path that is relative to it, and no
// text of a stranger may ever become markup.
func TestFilesNameEachOtherAndNothingElse(t *testing.T) {
	reference := regexp.MustCompile(`(?:src|href)="([^"]*)"|from "([^"]*)"`)
	elsewhere := regexp.MustCompile(`(?i)https?://[^\s"')]*`)
	forbidden := regexp.MustCompile(`(?i)innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|\bstyle=|<style|<script>|\son[a-z]+=|@import|url\(`)
	api := map[string]bool{"api/v1/status": true, "api/v1/history": true, "metrics": true}

	err := fs.WalkDir(files, ".", func(name string, d fs.DirEntry, err error) error {
		require.NoError(t, err)
		if d.IsDir() {
			return nil
		}
		content, err := fs.ReadFile(files, name)
		require.NoError(t, err)
		for _, url := range elsewhere.FindAllString(string(content), -1) {
			require.Equal(t, "http://www.w3.org/2000/svg", url, "%s: only the name of SVG", name)
		}
		require.NotRegexp(t, forbidden, string(content), name)
		for _, m := range reference.FindAllStringSubmatch(string(content), -1) {
			target := m[1] + m[2]
			if api[target] {
				continue
			}
			if len(target) > 1 && target[:2] == "./" {
				target = target[2:]
			}
			res, _ := ask(t, http.MethodGet, "/"+target)
			require.Equal(t, http.StatusOK, res.StatusCode, "%s names %s", name, target)
		}
		return nil
	})
	require.NoError(t, err)
}
