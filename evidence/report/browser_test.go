package report

import (
	"bytes"
	"context"
	"image"
	imagedraw "image/draw"
	"image/png"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	cdplog "github.com/chromedp/cdproto/log"
	cdppage "github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"

	"github.com/chaperone-sql/chaperone/evidence"
	"github.com/chaperone-sql/chaperone/evidence/bundle"
)

// browse opens a page in a Chromium of its own. What it complains of is given to
// complain, such as something that the page's own policy forbids.
func browse(t *testing.T, html string, complain func(string)) context.Context {
	t.Helper()
	file := filepath.Join(t.TempDir(), Name)
	must(t, os.WriteFile(file, []byte(html), 0o644))
	allocated, stop := chromedp.NewExecAllocator(t.Context(), append(chromedp.DefaultExecAllocatorOptions[:], chromedp.NoSandbox)...)
	t.Cleanup(stop)
	ctx, cancel := chromedp.NewContext(allocated)
	t.Cleanup(cancel)
	ctx, end := context.WithTimeout(ctx, 2*time.Minute)
	t.Cleanup(end)
	chromedp.ListenTarget(ctx, func(event any) {
		switch e := event.(type) {
		case *cdplog.EventEntryAdded:
			complain(e.Entry.Text)
		case *cdppage.EventJavascriptDialogOpening:
			complain("a script ran: " + e.Message)
		}
	})
	do(t, ctx, cdplog.Enable(), chromedp.Navigate("file://"+file), chromedp.WaitReady("footer"))
	return ctx
}

func do(t *testing.T, ctx context.Context, actions ...chromedp.Action) {
	t.Helper()
	if err := chromedp.Run(ctx, actions...); err != nil {
		t.Fatal(err)
	}
}

// top is the upper part of a picture.
func top(t *testing.T, picture []byte, height int) []byte {
	t.Helper()
	whole, err := png.Decode(bytes.NewReader(picture))
	must(t, err)
	at := whole.Bounds()
	part := image.NewNRGBA(image.Rect(0, 0, at.Dx(), min(height, at.Dy())))
	imagedraw.Draw(part, part.Bounds(), whole, at.Min, imagedraw.Src)
	var out bytes.Buffer
	must(t, png.Encode(&out, part))
	return out.Bytes()
}

// TestBrowser opens the report in a real browser, on a desk, on a telephone, in the
// dark, and prints it. CHAPERONE_SCREENSHOTS names a folder that keeps what it sees.
func TestBrowser(t *testing.T) {
	keep := func(name string, body []byte) {
		if to := os.Getenv("CHAPERONE_SCREENSHOTS"); to != "" {
			must(t, os.WriteFile(filepath.Join(to, name), body, 0o644))
		}
	}
	_, attack := hostile(strings.Repeat("W", 5000) + "<script>alert(1)</script>")
	for name, content := range map[string]*bundle.Content{"day": aDay().content(nil), "person": aDay().content(&evidence.Filter{Patient: "mrn:tok_1"}), "hostile": attack} {
		t.Run(name, func(t *testing.T) {
			ctx := browse(t, rendered(t, content), func(text string) { t.Errorf("the browser says: %s", text) })
			for _, screen := range []struct {
				name  string
				width int64
				dark  bool
			}{{"desk", 1280, false}, {"phone", 390, false}, {"dark", 1280, true}} {
				scheme := map[bool]string{false: "light", true: "dark"}[screen.dark]
				var picture []byte
				shoot := chromedp.FullScreenshot(&picture, 100)
				if name == "hostile" { // too long for a picture
					shoot = chromedp.CaptureScreenshot(&picture)
				}
				var wide bool
				var ground string
				do(t, ctx, emulation.SetDeviceMetricsOverride(screen.width, 900, 1, false),
					emulation.SetEmulatedMedia().WithFeatures([]*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}}),
					shoot,
					chromedp.Evaluate(`document.documentElement.scrollWidth > document.documentElement.clientWidth`, &wide),
					chromedp.Evaluate(`getComputedStyle(document.body).backgroundColor`, &ground))
				if wide {
					t.Errorf("on %s the page is wider than %d pixels", screen.name, screen.width)
				}
				// The policy allowed the style sheet, and the dark one is dark.
				if want := map[bool]string{false: "rgb(246, 245, 242)", true: "rgb(20, 24, 27)"}[screen.dark]; ground != want {
					t.Errorf("on %s the ground is %s, want %s", screen.name, ground, want)
				}
				keep(name+"-"+screen.name+".png", picture)
			}
			// What docs/images shows: how it begins, and the list of one person.
			shown := map[string]string{"day": "#counts", "person": "#one-person", "hostile": "#who"}[name]
			var part []byte
			do(t, ctx, emulation.SetDeviceMetricsOverride(1100, 900, 1, false),
				emulation.SetEmulatedMedia().WithFeatures([]*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: "light"}}),
				chromedp.Screenshot(shown, &part, chromedp.ByQuery))
			keep("report-"+name+".png", top(t, part, map[string]int{"day": 1130, "person": 760, "hostile": 760}[name]))
			var paper []byte
			do(t, ctx, emulation.ClearDeviceMetricsOverride(), chromedp.ActionFunc(func(ctx context.Context) (err error) {
				paper, _, err = cdppage.PrintToPDF().WithPreferCSSPageSize(false).WithPaperWidth(8.27).WithPaperHeight(11.69).Do(ctx)
				return err
			}))
			if !strings.HasPrefix(string(paper), "%PDF-") || len(paper) < 20_000 {
				t.Errorf("printed are %d bytes", len(paper))
			}
			keep(name+".pdf", paper)
		})
	}
}
