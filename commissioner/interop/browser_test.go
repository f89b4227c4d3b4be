//go:build interop

package interop

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"image"
	"image/png"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/boombuler/barcode/qr"

	"gatehouse/commissioner/interop/lab"
)

// maxTaps is how many a person may need from the code of the first run to a
// paired light, and maxWeight what the first screen may take, in octets.
const (
	maxTaps   = 3
	maxWeight = 150_000
)

// TestBrowser is a person's first evening with Gatehouse, in Chromium at a
// phone's size: from the code of the first run to two paired lights, one of them
// matter.js's, then switching, sharing, a passkey, and a resident's view. Its
// pictures are kept where GATEHOUSE_PICTURES says.
func TestBrowser(t *testing.T) {
	t.Parallel()
	chromium, err := exec.LookPath("chromium")
	if err != nil {
		t.Skip("there is no chromium: install Debian's package of that name")
	}
	if _, err := exec.LookPath("certutil"); err != nil {
		t.Skip("there is no certutil: install Debian's libnss3-tools")
	}
	ctx := within(t, limit)
	n := network(t)
	gate := host(t, n, "gate")
	g, err := gate.ServeWith("--https", "[::]:443").Gateway(ctx, gatehouseBin)
	check(t, err)
	t.Cleanup(func() {
		if t.Failed() {
			t.Log("the gateway's log:\n" + g.Proc.Log())
		}
	})
	js, err := host(t, n, "matterjs").Lights(ctx, lab.LightConfig{Name: "light", Count: 1, Discriminator: 3000, Rich: true})
	check(t, err)
	virtual := host(t, n, "virtual")
	ours, err := virtual.Virtual(ctx, virtualBin, 2)
	check(t, err)
	_, err = g.Run(ctx, "trust", "import", "--test", filepath.Join(virtual.Dir, "trust"))
	check(t, err)
	line, err := g.Run(ctx, "people", "first")
	check(t, err)
	var first struct{ Link, Fingerprint string }
	check(t, json.Unmarshal(line, &first))

	b := browse(t, ctx, host(t, n, "phone"), gate, first.Fingerprint, chromium, js[0].QR, ours[0].QR)
	const password = "seven quiet otters paint"
	var done struct {
		Taps, Steps, MS int
		Names, Failures []string
	}
	b.ask("welcome", map[string]any{"link": first.Link, "password": password}, &done)
	b.ask("add", map[string]any{"codes": 2}, &done)
	t.Logf("from the code to two lights: %d taps, %d ms of pairing: %v", done.Taps, done.MS, done.Names)
	if done.Taps > maxTaps || done.Steps < 20 || len(done.Names) != 2 || len(done.Failures) != 0 {
		t.Fatalf("%+v", done)
	}
	b.ask("list", nil, &done)
	if len(done.Names) != 2 {
		t.Errorf("the list has %v", done.Names)
	}
	check(t, ours[0].Press(ctx)) // nobody taps: the page hears of it
	b.ask("shown", map[string]any{"name": "Virtual light", "on": true}, nil)
	b.ask("flip", map[string]any{"name": "light-1"}, nil)
	check(t, js[0].Switched(ctx, true))
	check(t, js[0].Press(ctx))
	b.ask("shown", map[string]any{"name": "light-1", "on": false}, nil)
	b.ask("flip", map[string]any{"name": "Virtual light"}, nil)
	check(t, ours[0].Switched(ctx, false))

	var shared struct {
		Digits, Left string
		Fabrics      []string
	}
	b.ask("share", map[string]any{"name": "light-1"}, &shared)
	if !strings.HasPrefix(shared.Left, "Good for 1") || len(shared.Fabrics) != 1 {
		t.Errorf("shared: %+v", shared)
	}
	controller, err := host(t, n, "other").Controller(ctx)
	check(t, err)
	check(t, controller.Ask(ctx, "commission", map[string]any{"code": strings.ReplaceAll(shared.Digits, "-", ""), "name": "light-1"}, nil))
	if f, err := js[0].Fabrics(ctx); err != nil || f != 2 {
		t.Errorf("the shared light is on %d fabrics, %v", f, err)
	}

	var left struct{ Open int }
	if b.ask("unshare", nil, &left); left.Open != 0 {
		t.Error("the code is shown though the door is closed")
	}

	b.ask("passkey", nil, nil)
	b.ask("look", map[string]any{"screens": map[string]string{"more": "/more", "gateways": "/gateways", "zones": "/zones", "networks": "/networks", "alerts": "/alerts", "firmware": "/firmware",
		"people": "/people", "audit": "/audit", "account": "/account", "trust": "/trust", "missing": "/nowhere"}}, nil)
	b.ask("mistype", map[string]any{"code": "1234-567-8901"}, nil)
	picture := filepath.Join(virtual.Dir, "photo.png")
	check(t, photograph(picture, ours[1].QR))
	b.ask("photo", map[string]any{"file": picture}, nil)
	var native struct{ Queued, Pictures int }
	if b.ask("native", map[string]any{"text": ours[1].QR}, &native); native.Queued != 1 || native.Pictures != 0 {
		t.Errorf("a browser that reads codes by itself: %+v", native)
	}
	var asked struct {
		Answer struct {
			SSID, Password string
			SaveAs         string `json:"save_as"`
		}
		Text string
	}
	b.ask("asked", map[string]any{"code": "3497-011-2332"}, &asked)
	if a := asked.Answer; a.SSID != "attic" || a.Password != "open sesame" || a.SaveAs != "attic" || !strings.Contains(asked.Text, "under Networks") {
		t.Errorf("asked for a network: %+v", asked)
	}
	_, err = g.Run(ctx, "firmware", "policy", "--unknown", "quarantine")
	check(t, err)
	var accepted struct{ Text, Note string }
	b.ask("accept", map[string]any{"code": ours[1].Manual}, &accepted)
	if !strings.Contains(accepted.Text, "nobody") || !strings.Contains(accepted.Note, "quarantined") {
		t.Errorf("asked about its software: %+v", accepted)
	}
	var invited struct{ Link string }
	b.ask("invite", map[string]any{"name": "Rosa", "role": "resident"}, &invited)
	b.ask("login", map[string]any{"name": "Administrator", "password": password}, nil)
	b.ask("confirm", nil, nil)
	var told struct{ Text string }
	b.ask("tell", map[string]any{"name": "pager", "url": "http://192.168.1.9:8080/hook/XYZZY"}, &told)
	if !strings.Contains(told.Text, "192.168.1.9:8080") || strings.Contains(told.Text, "XYZZY") {
		t.Errorf("the page has of a program %q", told.Text)
	}
	var weight struct{ Octets int }
	if b.ask("weigh", nil, &weight); weight.Octets > maxWeight || weight.Octets < 10_000 {
		t.Errorf("the first screen takes %d octets", weight.Octets)
	}
	t.Logf("the first screen takes %d octets", weight.Octets)
	b.ask("welcome", map[string]any{"link": invited.Link, "name": "Rosa", "password": "nine purple boats whisper"}, nil)

	var report struct{ Broken, Hosts []string }
	b.ask("report", nil, &report)
	for _, what := range report.Broken {
		t.Error(what)
	}
	if len(report.Hosts) != 1 || report.Hosts[0] != origin {
		t.Errorf("requests went to %v", report.Hosts)
	}
}

const origin = "https://gatehouse.local"

// browser is Chromium on a host.
type browser struct {
	t   *testing.T
	ctx context.Context
	*lab.Proc
}

// browse starts Chromium with a new profile that trusts the home's authority, at
// whose camera the codes are held in turn.
func browse(t *testing.T, ctx context.Context, phone, gate *lab.Host, fingerprint, chromium string, codes ...string) browser {
	t.Helper()
	own, err := lab.Dir()
	check(t, err)
	if _, err := os.Stat(filepath.Join(own, "browser", "node_modules", "playwright-core")); err != nil {
		t.Skip("playwright-core is not installed: run npm ci in commissioner/interop/browser, or make interop")
	}
	keep := os.Getenv("GATEHOUSE_PICTURES")
	pictures := cmp.Or(keep, phone.Dir)
	check(t, os.MkdirAll(pictures, 0o755))
	check(t, film(filepath.Join(phone.Dir, "camera.y4m"), codes))
	config, err := json.Marshal(map[string]any{"keep": keep != "", "home": phone.Dir, "pictures": pictures, "chromium": chromium, "origin": origin, "gate": gate.Addr(), "fingerprint": fingerprint,
		"video": filepath.Join(phone.Dir, "camera.y4m")})
	check(t, err)
	p, err := phone.Start([]string{"HOME=" + phone.Dir}, "node", filepath.Join(own, "browser", "drive.mjs"), string(config))
	check(t, err)
	t.Cleanup(func() {
		if t.Failed() {
			t.Log("the browser's log:\n" + p.Log())
		}
		check(t, p.Stop())
	})
	check(t, p.Event(ctx, func(line json.RawMessage) bool { return strings.Contains(string(line), `"started"`) }))
	return browser{t, ctx, p}
}

func (b browser) ask(what string, args map[string]any, v any) {
	b.t.Helper()
	began := time.Now()
	check(b.t, b.Ask(b.ctx, what, args, v))
	b.t.Logf("%s: %v", what, time.Since(began).Round(time.Millisecond))
}

// What a camera sees.
const (
	filmWidth, filmHeight = 640, 480
	filmFrames            = 4 // of each code, at two a second
	module                = 8 // pixels
)

// still is a picture of a code.
func still(text string) (*image.Gray, error) {
	code, err := qr.Encode(text, qr.M, qr.Auto)
	if err != nil {
		return nil, err
	}
	light := image.NewGray(image.Rect(0, 0, filmWidth, filmHeight))
	side := code.Bounds().Dx()
	for i := range light.Pix {
		x, y := i%filmWidth-(filmWidth-side*module)/2, i/filmWidth-(filmHeight-side*module)/2
		light.Pix[i] = 200
		if image.Pt(x, y).In(image.Rect(0, 0, side*module, side*module)) {
			if r, _, _, _ := code.At(x/module, y/module).RGBA(); r == 0 {
				light.Pix[i] = 30
			}
		}
	}
	return light, nil
}

// photograph writes a picture of a code.
func photograph(path, text string) error {
	light, err := still(text)
	if err != nil {
		return err
	}
	var b bytes.Buffer
	if err := png.Encode(&b, light); err != nil {
		return err
	}
	return os.WriteFile(path, b.Bytes(), 0o644)
}

// film writes an uncompressed video in which one code after the other is held
// before the camera.
func film(path string, codes []string) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	w := bufio.NewWriter(f)
	fmt.Fprintf(w, "YUV4MPEG2 W%d H%d F2:1 Ip A1:1 C420jpeg\n", filmWidth, filmHeight)
	colour := make([]byte, filmWidth*filmHeight/2)
	for i := range colour {
		colour[i] = 128
	}
	for _, text := range codes {
		light, err := still(text)
		if err != nil {
			return err
		}
		for range filmFrames {
			w.WriteString("FRAME\n")
			w.Write(light.Pix)
			w.Write(colour)
		}
	}
	if err := w.Flush(); err != nil {
		return err
	}
	return f.Close()
}
