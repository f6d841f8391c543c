package browser

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

// patience is how long a test waits for what the page is to show. The page asks
// once a second; the rest is for a machine that does much else.
const patience = 30 * time.Second

// chromium is the one browser of all tests; each has a tab of its own.
var chromium struct {
	start sync.Once
	ctx   context.Context
	stop  func()
	err   error
}

func TestMain(m *testing.M) {
	code := m.Run()
	if chromium.stop != nil {
		chromium.stop()
	}
	if dir := screenshots(); shots > 0 {
		fmt.Printf("%d screenshots in %s\n", shots, dir)
	}
	if err := goleak.Find(); code == 0 && err != nil {
		fmt.Println(err)
		code = 1
	}
	os.Exit(code)
}

// find is the Chromium of this system.
func find() (string, error) {
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			return path, nil
		}
	}
	return "", fmt.Errorf("no chromium here")
}

func startChromium(path string) {
	options := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(path),
		chromedp.Flag("disable-dev-shm-usage", true), // containers give little of it
		chromedp.Flag("disable-component-update", true),
	)
	if os.Getuid() == 0 {
		options = append(options, chromedp.NoSandbox) // it refuses to run as root otherwise
	}
	alloc, stopAlloc := chromedp.NewExecAllocator(context.Background(), options...)
	ctx, stop := chromedp.NewContext(alloc)
	chromium.ctx = ctx
	chromium.stop = func() { // ends the process and what talks to it
		_ = chromedp.Cancel(ctx)
		stop()
		stopAlloc()
	}
	chromium.err = chromedp.Do(ctx)
}

// tab is a page that is being looked at, and all it asked for and complained about.
type tab struct {
	t   *testing.T
	ctx context.Context

	mu         sync.Mutex // guards what follows: events come from the browser at any time
	requests   []string
	complaints []string
}

// newTab is an empty tab; the test skips without a Chromium.
func newTab(t *testing.T) *tab {
	t.Helper()
	path, err := find()
	if err != nil {
		t.Skip(err)
	}
	chromium.start.Do(func() { startChromium(path) })
	require.NoError(t, chromium.err)
	p := &tab{t: t}
	ctx, cancel := chromedp.NewContext(chromium.ctx, chromedp.WithListener(p.event))
	t.Cleanup(cancel)
	ctx, cancelTime := context.WithTimeout(ctx, 3*time.Minute)
	t.Cleanup(cancelTime)
	p.ctx = ctx
	call(p, network.Enable, network.EnableParams{})
	call(p, log.Enable, cdp.Empty{})
	call(p, runtime.Enable, cdp.Empty{})
	p.look(1280, 900, "light")
	return p
}

func (p *tab) open(url string) {
	p.t.Helper()
	require.NoError(p.t, chromedp.Do(p.ctx, chromedp.Navigate(url)))
}

// call sends the browser a command of its protocol.
func call[P, R any](p *tab, command cdp.Command[P, R], params P) {
	p.t.Helper()
	_, err := chromedp.Call(p.ctx, command, params)
	require.NoError(p.t, err)
}

func (p *tab) event(e any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch e := e.(type) {
	case *network.EventRequestWillBeSent:
		p.requests = append(p.requests, e.Request.URL)
	case *network.EventWebSocketCreated:
		p.requests = append(p.requests, e.URL)
	case *runtime.EventExceptionThrown:
		p.complaints = append(p.complaints, fmt.Sprintf("exception: %s %+v", e.ExceptionDetails.Text, e.ExceptionDetails.Exception))
	case *runtime.EventConsoleAPICalled:
		p.complaints = append(p.complaints, fmt.Sprintf("console.%s: %+v", e.Type, e.Args))
	case *log.EventEntryAdded:
		if e.Entry.Level == log.EntryLevelError || e.Entry.Level == log.EntryLevelWarning {
			p.complaints = append(p.complaints, fmt.Sprintf("%s: %s %s", e.Entry.Level, e.Entry.Text, e.Entry.URL))
		}
	}
}

// clean holds that the page asked nobody but its own program, and that the
// browser had nothing to complain about.
func (p *tab) clean(origin string) {
	p.t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	require.NotEmpty(p.t, p.requests, "nothing was recorded")
	for _, r := range p.requests {
		u, err := url.Parse(r)
		require.NoError(p.t, err)
		require.Equal(p.t, origin, u.Scheme+"://"+u.Host, "asked for %s", r)
	}
	require.Empty(p.t, p.complaints)
}

// asked is how often the page asked for a path so far.
func (p *tab) asked(path string) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := 0
	for _, r := range p.requests {
		if u, err := url.Parse(r); err == nil && u.Path == path {
			n++
		}
	}
	return n
}

// look sets the size of the window, in CSS pixels, and the scheme of colours.
func (p *tab) look(width, height int64, scheme string) {
	p.t.Helper()
	density := 1.0
	if width < 600 {
		density = 2
	}
	call(p, emulation.SetDeviceMetricsOverride, emulation.SetDeviceMetricsOverrideParams{
		Width: width, Height: height, DeviceScaleFactor: density, Mobile: width < 600})
	call(p, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{
		{Name: "prefers-color-scheme", Value: scheme},
		{Name: "prefers-reduced-motion", Value: "reduce"},
	}})
}

// value is what an expression is in the page.
func value[T any](p *tab, expression string) T {
	p.t.Helper()
	v, err := chromedp.Run(p.ctx, chromedp.Evaluate[T](expression))
	require.NoError(p.t, err, expression)
	return v
}

// until waits for an expression to be true in the page.
func (p *tab) until(expression string) {
	p.t.Helper()
	for deadline := time.Now().Add(patience); ; {
		if value[bool](p, expression) {
			return
		}
		if time.Now().After(deadline) {
			require.Fail(p.t, "never true: "+expression, "the page says:\n%s",
				value[string](p, "document.body.innerText.slice(0, 500)"))
		}
		select {
		case <-p.ctx.Done():
			require.NoError(p.t, p.ctx.Err())
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// untilSays waits for a text in the sentence at the top.
func (p *tab) untilSays(text string) {
	p.t.Helper()
	p.until(fmt.Sprintf("document.getElementById('sentence')?.textContent.includes(%q) ?? false", text))
}

// fits holds that nothing stands out at the side: neither the page nor a part of
// it that is not meant to scroll.
func (p *tab) fits() {
	p.t.Helper()
	require.LessOrEqual(p.t, value[int](p, "document.scrollingElement.scrollWidth"),
		value[int](p, "innerWidth"), "the page scrolls sideways")
	out := value[[]string](p, `[...document.querySelectorAll("main *, header *, footer *")].filter((e) => {
		const r = e.getBoundingClientRect();
		return r.width > 1 && r.right > innerWidth + 1 && !e.closest(".scroll, svg");
	}).map((e) => e.tagName + "." + e.className + " " + e.textContent.slice(0, 40))`)
	require.Empty(p.t, out)
}

// shots is how many screenshots were taken. Tests are not run in parallel.
var shots int

func screenshots() string {
	if dir := os.Getenv("TUNNEL_SCREENSHOTS"); dir != "" {
		return dir
	}
	dir, _ := filepath.Abs("screenshots")
	return dir
}

// keep takes a picture of the whole page.
func (p *tab) keep(name string) {
	p.t.Helper()
	png, err := chromedp.Run(p.ctx, chromedp.FullScreenshot(100))
	require.NoError(p.t, err)
	require.True(p.t, strings.HasPrefix(string(png), "\x89PNG"), "not a PNG")
	require.NoError(p.t, os.MkdirAll(screenshots(), 0o755))
	file := filepath.Join(screenshots(), name+".png")
	require.NoError(p.t, os.WriteFile(file, png, 0o644))
	shots++
	p.t.Logf("screenshot %s", file)
}
