package browser

import "testing"

// TestPictures keeps what the page looks like in the states that matter.
func TestPictures(t *testing.T) {
	broken := busy
	broken.down, broken.waiting = 2, 3
	client := scene{client: true, services: 3, clients: 1, load: 0.6}
	lost := client
	lost.clients, lost.load = 0, 0
	lost.notReady = "dial tcp 192.0.2.4:10101: connect: connection refused"
	for name, s := range map[string]scene{
		"busy": busy, "quiet": quiet, "small": small, "large": large, "broken": broken,
		"empty": {fresh: true}, "client": client, "client-lost": lost,
	} {
		t.Run(name, func(t *testing.T) {
			f, p := open(t, s)
			p.until(`document.querySelectorAll(".spark path[d*=L]").length > 0 || document.querySelectorAll(".spark").length === 0`)
			for _, scheme := range []string{"light", "dark"} {
				p.look(1280, 900, scheme)
				p.fits()
				p.keep(name + "-desktop-" + scheme)
				p.look(360, 740, scheme)
				p.fits()
				p.keep(name + "-360px-" + scheme)
			}
			p.clean(f.url())
		})
	}
}
