package browser

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
)

// drawn is all that the plots show, as paths.
const drawn = `[...document.querySelectorAll("#plots .lines path")].map((p) => p.getAttribute("d")).join("|")`

// open goes to the page of a fake program and waits until it shows its state.
func open(t *testing.T, s scene) (*fake, *tab) {
	t.Helper()
	f := newFake(t, s)
	p := newTab(t)
	p.open(f.url())
	p.until(`!document.getElementById("body")?.hidden`)
	return f, p
}

var (
	quiet = scene{services: 2, clients: 1}
	busy  = scene{services: 5, clients: 3, load: 1}
	small = scene{services: 1, clients: 1, load: 0.2}
	large = scene{services: 40, clients: 300, load: 1, forwards: 2, group: true}
)

func TestPageShowsWhatTheProgramTells(t *testing.T) {
	f, p := open(t, busy)
	p.untilSays("Everything is up: 5 services, 3 clients,")
	require.Equal(t, "tunnel-server", value[string](p, `document.getElementById("program").textContent`))
	p.until(`document.querySelectorAll("#services tbody tr").length === 5`)
	p.until(`document.querySelectorAll("#sessions tbody tr").length === 3`)
	p.until(`document.querySelector("#services tbody").innerText.includes("localhost:3000")`)
	p.until(`/\d\s[kM]B\/s/.test(document.querySelector("#services tbody").innerText)`)
	p.until(`document.querySelectorAll("#throughput .legend li").length === 5`)
	p.until(`[...document.querySelectorAll("#sessions .spark path")].every((s) => s.getAttribute("d").includes("L"))`)
	require.Contains(t, value[string](p, `document.getElementById("event-list").innerText`), "wrong key")
	p.clean(f.url())
}

// A server's bound on what clients keep ready is far above what they do: it is told,
// and does not press the rest flat.
func TestABoundFarAwayIsToldAndNotDrawn(t *testing.T) {
	far := busy
	far.room = 1024
	f, p := open(t, far)
	p.until(`document.querySelectorAll("#connections .value")[1].textContent === "3,072"`)
	p.until(`document.querySelector("#connections .lines .bound").getAttribute("d") === ""`)
	p.until(`document.querySelector("#connections .lines .area.line").getAttribute("d") !== ""`)
	f.set(busy)
	p.until(`document.querySelector("#connections .lines .bound").getAttribute("d") !== ""`)
	p.clean(f.url())
}

// All addresses are relative to the page.
func TestPageWorksBelowAPath(t *testing.T) {
	f := newFake(t, quiet)
	p := newTab(t)
	p.open(f.url() + "/below/")
	p.untilSays("Everything is up")
	require.Zero(t, p.asked("/")+p.asked("/style.css")+p.asked("/api/v1/status"))
	p.clean(f.url())
}

func TestPageAsksForTheWholeHistoryOnce(t *testing.T) {
	f, p := open(t, busy)
	before := value[string](p, drawn)
	p.until(fmt.Sprintf("%s !== %q", drawn, before)) // it moves by itself
	p.until(`performance.getEntriesByName(location.origin + "/api/v1/status").length > 3`)
	f.mu.Lock()
	defer f.mu.Unlock()
	require.Equal(t, 1, f.full)
	p.clean(f.url())
}
