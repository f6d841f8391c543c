package browser

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/browser"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
	"github.com/stretchr/testify/require"
)

// A program that is gone is said to be, with the time; when it is back the page
// goes on by itself, and knows that it is another one.
func TestPageTellsThatTheProgramIsGoneAndGoesOn(t *testing.T) {
	f, p := open(t, busy)
	p.untilSays("Everything is up")
	f.stop()
	p.untilSays("tunnel-server has not answered since ")
	p.until(`document.getElementById("banner").className === "bad"`)
	p.until(`document.getElementById("body").classList.contains("stale")`)
	p.until(`document.getElementById("spoken").textContent.includes("has not answered")`)
	require.True(t, strings.HasPrefix(value[string](p, "document.title"), "✕"))
	p.keep("gone-desktop-light")

	again := small
	again.started, again.fresh = time.Now(), true
	f.set(again)
	f.start()
	p.untilSays("Everything is up: 1 service, 1 client,")
	p.until(`!document.getElementById("body").classList.contains("stale")`)
	p.until(`document.querySelectorAll("#throughput .legend li").length <= 1`) // nothing of the one before
}

// What answers but is not well, or not the program, is told from silence.
func TestPageTellsAnAnswerThatIsNone(t *testing.T) {
	f, p := open(t, quiet)
	f.fail(503)
	p.untilSays("(it answers “503 Service Unavailable”)")
	f.fail(0)
	p.untilSays("Everything is up")
	f.fail(200)
	p.untilSays("This page fails to show what the program tells.")
	f.fail(0)
	p.untilSays("Everything is up")
	f.fail(-1)
	p.untilSays("(no answer in 5 s)")
	f.fail(0)
	p.untilSays("Everything is up")
}

func TestPageTellsWhatIsWrong(t *testing.T) {
	f, p := open(t, busy)
	p.untilSays("Everything is up")

	down := busy
	down.down = 1
	f.set(down)
	p.untilSays("web of pi has been down since ")
	require.NotContains(t, value[string](p, `document.getElementById("sentence").textContent`), "or before",
		"the page saw it happen")
	p.until(`document.getElementById("detail").textContent.includes("the client is away")`)
	p.until(`document.querySelector("#services tbody tr").innerText.includes("down")`) // first in the table

	down.down, down.waiting = 3, 4
	f.set(down)
	p.untilSays("3 of 5 services are down; 4 users wait for a connection.")
	p.until(`document.querySelectorAll("#problems li").length === 4`)

	f.set(scene{client: true, services: 1, notReady: "no route to host"})
	p.untilSays("Not connected to tunnel.example.com:10101 since ")
	p.until(`document.getElementById("detail").textContent.includes("no route to host")`)

	// Opened later, the page knows by the events since when.
	down = busy
	down.down, down.left = 1, true
	f.set(down)
	p.open(f.url())
	p.until(`/^web of pi has been down since (\d+ \w+ )?\d\d:\d\d:20\.$/.test(document.getElementById("sentence").textContent)`)
	down.left = false
	f.set(down)
	p.open(f.url())
	p.untilSays("or before")

	// A client that is connected, and was denied one service, is not ready either.
	f.set(scene{client: true, services: 3, clients: 1, down: 1, notReady: "\"web\" is not up"})
	p.untilSays("web has been down since ")

	f.set(busy)
	p.untilSays("Everything is up")
	p.until(`document.getElementById("problems").hidden`)
	p.clean(f.url())
}

// What is drawn anew each second stays where it is.
func TestFiguresMoveAndTheirPlacesDoNot(t *testing.T) {
	f, p := open(t, large)
	p.untilSays("Everything is up")
	for _, width := range []int64{1280, 360} {
		p.look(width, 900, "light")
		p.until(`document.querySelector("#connections svg").getBoundingClientRect().width < innerWidth`)
		require.True(t, value[bool](p, `(() => {
			window.shifts = [];
			window.turns = 0;
			new PerformanceObserver((l) => shifts.push(...l.getEntries().map((e) => e.value))).observe({ type: "layout-shift" });
			new MutationObserver(() => turns++).observe(document.querySelector("#connections .lines path"), { attributes: true });
			return true;
		})()`))
		p.until(`turns > 4`)
		require.Less(t, value[float64](p, `shifts.reduce((a, b) => a + b, 0)`), 0.01, "%d px", width)
	}
	require.True(t, value[bool](p, `(document.getElementById("detail").append(document.createElement("br"), "one", document.createElement("br"), "two"), true)`))
	p.until(`shifts.length > 0`) // it would have been seen
	p.clean(f.url())
}

// A page that nobody sees asks for nothing, and is up to date when it is seen.
func TestPageRestsWhileNobodyLooks(t *testing.T) {
	_, p := open(t, quiet)
	p.until(`!document.hidden`)

	window, err := chromedp.CallBrowser(p.ctx, browser.GetWindowForTarget, browser.GetWindowForTargetParams{TargetID: chromedp.FromContext(p.ctx).Target.TargetID})
	require.NoError(t, err)
	show := func(state browser.WindowState) {
		_, err := chromedp.CallBrowser(p.ctx, browser.SetWindowBounds, browser.SetWindowBoundsParams{
			WindowID: window.WindowID, Bounds: &browser.Bounds{WindowState: state}})
		require.NoError(t, err)
	}
	show(browser.WindowStateMinimized)
	p.until(`document.hidden`)
	p.until(`performance.now() - performance.getEntriesByType("resource").at(-1).responseEnd > 3500`)

	before := p.asked("/api/v1/status")
	show(browser.WindowStateNormal)
	p.until(`!document.hidden`)
	p.untilSays("Everything is up")
	require.Eventually(t, func() bool { return p.asked("/api/v1/status") > before }, patience, 20*time.Millisecond)
}

// Names are a stranger's words: they are shown as they are, and do nothing.
func TestHostileNamesAreText(t *testing.T) {
	words := []string{
		`<img src=x onerror="window.caught=1">`, `<script>window.caught=1</script>`, `"><svg onload=window.caught=1>`,
		`__proto__`, `constructor`, `javascript:window.caught=1`, "\u202egnp.exe", strings.Repeat("W", 200), `{{7*7}}`, ``,
		"line\nbreak", `</title><script>window.caught=1</script>`, `'+window.caught+'`,
	}
	s := scene{services: len(words), clients: len(words), load: 1, hostile: func(i int) string { return words[i%len(words)] }}
	f, p := open(t, s)
	p.untilSays("Everything is up: 13 services, 13 clients,")
	p.until(`document.querySelectorAll("#sessions tbody tr").length === 13`)
	for _, w := range words[:6] {
		p.until(fmt.Sprintf(`document.getElementById("services").textContent.includes(%s)`, strconv.Quote(w)))
		p.until(fmt.Sprintf(`document.getElementById("sessions").textContent.includes(%s)`, strconv.Quote(w)))
	}
	require.Equal(t, 0, value[int](p, `document.querySelectorAll("#body img, #body script, #body [onerror], #body [onload]").length`))
	require.Equal(t, "undefined", value[string](p, `typeof window.caught`))
	p.look(360, 740, "light")
	p.fits()
	p.keep("hostile-360px-light")
	p.look(1280, 900, "light")
	p.fits()
	p.keep("hostile-desktop-light")
	p.clean(f.url())
}

// The plots tell their figures under the pointer and to the keyboard, all at one
// moment.
func TestPlotsAreReadOut(t *testing.T) {
	f, p := open(t, busy)
	p.until(`document.querySelector("#connections .value").textContent !== ""`)
	type point struct{ X, Y float64 }
	at := value[point](p, `(() => { const r = document.querySelector("#connections .plot").getBoundingClientRect();
		return { X: r.left + r.width / 2, Y: r.top + r.height / 2 } })()`)
	require.NoError(t, chromedp.Do(p.ctx, chromedp.MouseClickXY(at.X, at.Y)))
	p.until(`[...document.querySelectorAll("#plots .when")].every((w) => /^\d\d:\d\d:\d\d$/.test(w.textContent))`)
	p.until(`[...document.querySelectorAll("#plots .hair")].every((h) => h.getAttribute("visibility") === "visible")`)
	p.keep("readout-desktop-light")

	before := value[float64](p, `Number(document.querySelector("#connections .plot").getAttribute("aria-valuenow"))`)
	require.NoError(t, chromedp.Do(p.ctx, chromedp.KeyEvent(kb.ArrowLeft)))
	p.until(fmt.Sprintf(`Number(document.querySelector("#connections .plot").getAttribute("aria-valuenow")) === %v`, before-1))
	p.until(`/^\d\d:\d\d:\d\d: ready \d+, capacity 96, users waiting 0$/.test(document.querySelector("#connections .plot").getAttribute("aria-valuetext"))`)
	require.NoError(t, chromedp.Do(p.ctx, chromedp.KeyEvent(kb.Escape)))
	p.until(`[...document.querySelectorAll("#plots .when")].every((w) => w.textContent === "")`)
	p.clean(f.url())
}

// With many services the busiest eight have names, and what is looked for is found.
func TestManyServicesAndClients(t *testing.T) {
	f, p := open(t, large)
	p.untilSays("Everything is up: 40 services, 2 forwards, 300 clients,")
	p.until(`document.querySelectorAll("#throughput .legend li").length === 9`)
	p.until(`document.querySelector("#throughput .legend li:last-child").textContent.startsWith("others")`)
	p.until(`document.querySelectorAll("#sessions tbody tr").length === 20`)
	require.True(t, value[bool](p, `(document.querySelector("#sessions .more").click(), true)`))
	p.until(`document.querySelectorAll("#sessions tbody tr").length === 300`)
	require.True(t, value[bool](p, `(() => { const f = document.getElementById("filter"); f.focus(); return document.activeElement === f })()`))
	require.NoError(t, chromedp.Do(p.ctx, chromedp.KeyEvent("Edge-03")))
	p.until(`document.querySelectorAll("#sessions tbody tr").length === 10`)
	p.until(`document.querySelectorAll("#services tbody tr").length === 10`)
	p.until(`document.getElementById("event-list").textContent === "Nothing here matches."`)
	p.clean(f.url())
}

// contrast is the text that stands out from what is below it by less than 4.5 to
// 1, or 3 to 1 if it is large.
const contrast = `(() => {
	const channel = (v) => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
	const parse = (c) => c.match(/[\d.]+/g).map(Number);
	const light = ([r, g, b]) => 0.2126 * channel(r) + 0.7152 * channel(g) + 0.0722 * channel(b);
	const below = (e) => {
		for (; e; e = e.parentElement) {
			const c = parse(getComputedStyle(e).backgroundColor);
			if (c.length === 3 || c[3] === 1) return c;
		}
		return [255, 255, 255];
	};
	const bad = [];
	for (const e of document.querySelectorAll("body *")) {
		if (![...e.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim()) || !e.getClientRects().length) continue;
		const style = getComputedStyle(e);
		const front = parse(e.closest("svg") ? style.fill : style.color);
		const [a, b] = [light(front), light(below(e))].sort((x, y) => y - x);
		const ratio = (a + 0.05) / (b + 0.05);
		const large = parseFloat(style.fontSize) >= 24 || (parseFloat(style.fontSize) >= 18.66 && style.fontWeight >= 600);
		if (ratio < (large ? 3 : 4.5)) bad.push(e.tagName + " " + e.className + ": " + ratio.toFixed(2) + " " + e.textContent.slice(0, 30));
	}
	return bad;
})()`

func TestTextStandsOutAndPartsHaveNames(t *testing.T) {
	broken := large
	broken.down, broken.waiting = 2, 1
	for name, s := range map[string]scene{"busy": busy, "broken": broken, "empty": {fresh: true}} {
		_, p := open(t, s)
		for _, scheme := range []string{"light", "dark"} {
			p.look(1280, 900, scheme)
			require.Empty(t, value[[]string](p, contrast), "%s, %s", name, scheme)
		}
		require.Equal(t, "rgb(14, 18, 23)", value[string](p, "getComputedStyle(document.body).backgroundColor"), "dark")
		// What can be reached by the keyboard, and each part of the page, has a name.
		require.Empty(t, value[[]string](p, `[...document.querySelectorAll("section, [tabindex], input, button, a, [role=region]")].filter((e) => {
			const by = e.getAttribute("aria-labelledby");
			return !(e.getAttribute("aria-label") || (by && document.getElementById(by)?.textContent) || e.closest("label") || e.textContent.trim());
		}).map((e) => e.outerHTML.slice(0, 80))`))
		require.Equal(t, 1, value[int](p, `document.querySelectorAll("h1").length`))
	}
}
