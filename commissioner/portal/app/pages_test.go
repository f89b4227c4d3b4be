package app

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"

	"golang.org/x/net/html"

	"gatehouse/commissioner"
	"gatehouse/commissioner/portal"
	"gatehouse/commissioner/portal/door"
	"gatehouse/commissioner/portal/login"
	"gatehouse/fabric"
)

// everybody is who may look at a page.
var everybody = []fabric.Role{0, fabric.Guest, fabric.Resident, fabric.Auditor, fabric.Administrator}

// TestScreens shows every screen to everybody: those who may not see it are told
// so, or asked to log in.
func TestScreens(t *testing.T) {
	a, api := newApp(t, 12)
	for _, role := range everybody {
		for _, s := range screens() {
			path := strings.NewReplacer("{$}", "", "{node}", node(0)).Replace(s.path)
			want := http.StatusOK
			switch {
			case role == 0 && s.need != door.Nothing:
				want = http.StatusSeeOther
			case s.need > door.Known && someone(role).May(door.Act{Need: s.need}, 0) != nil:
				want = http.StatusForbidden
			}
			w := a.get(role, path)
			if w.Code != want {
				t.Errorf("%v gets %s: %d, not %d", role, path, w.Code, want)
			}
			if w.Code == http.StatusSeeOther {
				if to := w.Header().Get("Location"); to != "/login?next="+url.QueryEscape(path) {
					t.Errorf("%s leads to %s", path, to)
				}
				continue
			}
			inspect(t, a, api, role, path, w)
		}
		for _, path := range []string{"/nowhere", "/devices/nobody", "/welcome/x"} {
			if w := a.get(role, path); w.Code == http.StatusSeeOther && role == 0 {
				continue
			} else if w.Code != http.StatusNotFound {
				t.Errorf("%v gets %s: %d", role, path, w.Code)
			} else {
				inspect(t, a, api, role, path, w)
			}
		}
	}
	for i := range 12 { // in every state that a device is in
		inspect(t, a, api, fabric.Administrator, "/devices/"+node(i), a.get(fabric.Administrator, "/devices/"+node(i)))
	}
}

// inspect holds a page to what every page promises.
func inspect(t *testing.T, a *App, api *api, role fabric.Role, path string, w *httptest.ResponseRecorder) {
	t.Helper()
	bad := func(format string, args ...any) {
		t.Helper()
		t.Errorf("%s for %v: %s", path, role, fmt.Sprintf(format, args...))
	}
	if h := w.Header(); h.Get("Cache-Control") != "no-store" || h.Get("Content-Type") != "text/html; charset=utf-8" {
		bad("headers %v", h)
	}
	body := w.Body.String()
	for _, wrong := range []string{"ZgotmplZ", "<no value>", "%!", "title.title"} {
		if strings.Contains(body, wrong) {
			bad("there is %q: %s", wrong, around(body, wrong))
		}
	}
	page, err := html.Parse(strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	ids, refers, headings := map[string]bool{}, []string{}, 0
	for n := range page.Descendants() {
		if n.Type != html.ElementNode {
			continue
		}
		at := attributes(n)
		for name, value := range at {
			switch {
			case name == "style" || strings.HasPrefix(name, "on"):
				bad("<%s %s=%q> stands in the page", n.Data, name, value)
			case name == "aria-labelledby" || name == "aria-controls" || name == "list" || name == "for":
				refers = append(refers, value)
			case name == "id":
				if ids[value] {
					bad("there are two %q", value)
				}
				ids[value] = true
			case name == "href" && n.Data != "use" || name == "src" || name == "action" || name == "data-go":
				leads(t, a, role, path, value)
			}
		}
		switch n.Data {
		case "style", "iframe", "object", "embed", "base":
			bad("there is a <%s>", n.Data)
		case "script":
			if at["src"] == "" || n.FirstChild != nil {
				bad("a script stands in the page")
			}
		case "h1":
			headings++
		case "title":
			if strings.HasPrefix(words(n), " ·") {
				bad("it has no title")
			}
		case "img", "input", "select", "button", "a", "video":
			if !named(n, at) {
				bad("nobody says what this is: <%s %v>", n.Data, at)
			}
		case "use":
			if !strings.Contains(body, `id="`+strings.TrimPrefix(at["href"], "#")+`"`) {
				bad("there is no icon %s", at["href"])
			}
		}
		if ask := at["data-api"]; ask != "" {
			allowed(t, api, role, path, ask)
		}
	}
	for _, id := range refers {
		if !ids[id] {
			bad("there is no %q", id)
		}
	}
	if headings != 1 {
		bad("there are %d first headings", headings)
	}
}

// around is where a text is.
func around(body, text string) string {
	i := strings.Index(body, text)
	return body[max(0, i-100):min(len(body), i+100)]
}

func attributes(n *html.Node) map[string]string {
	at := make(map[string]string)
	for _, a := range n.Attr {
		at[a.Key] = a.Val
	}
	return at
}

// words are the text within an element.
func words(n *html.Node) string {
	var s strings.Builder
	for c := range n.Descendants() {
		if c.Type == html.TextNode {
			s.WriteString(c.Data)
		}
	}
	return strings.TrimSpace(s.String())
}

// named tells whether a screen reader has something to say of an element.
func named(n *html.Node, at map[string]string) bool {
	if at["aria-label"] != "" || at["aria-labelledby"] != "" || at["alt"] != "" || at["type"] == "hidden" || words(n) != "" && n.Data != "select" {
		return true
	}
	if _, hidden := at["hidden"]; hidden {
		return true
	}
	for p := n.Parent; p != nil; p = p.Parent {
		if p.Data == "label" && words(p) != "" {
			return true
		}
	}
	return at["id"] == "code" // whose label stands before
}

// leads follows a link of a page.
func leads(t *testing.T, a *App, role fabric.Role, path, to string) {
	t.Helper()
	switch {
	case to == "/logout" || strings.HasPrefix(to, "#"):
	case !strings.HasPrefix(to, "/") || strings.HasPrefix(to, "//"):
		t.Errorf("%s leads away to %q", path, to)
	default:
		if w := a.get(role, to); w.Code != http.StatusOK && w.Code != http.StatusSeeOther {
			t.Errorf("%s leads %v to %s, which is %d", path, role, to, w.Code)
		}
	}
}

// allowed holds that a form asks for what there is, and for what its reader may.
func allowed(t *testing.T, api *api, role fabric.Role, path, ask string) {
	t.Helper()
	method, to, _ := strings.Cut(ask, " ")
	r, err := http.NewRequest(method, strings.NewReplacer("{name}", "x", "{ssid}", "x").Replace(to), nil)
	if err != nil {
		t.Fatal(err)
	}
	_, pattern := api.mux.Handler(r)
	act, ok := api.routes[pattern]
	if !ok {
		t.Errorf("%s has a form that asks for %s, which the API has not", path, ask)
		return
	}
	if err := someone(role).May(act, 0); err != nil {
		t.Errorf("%s shows %v what they may not do: %s", path, role, ask)
	}
}

// TestEscaped finds a name that would run as it was given, as text.
func TestEscaped(t *testing.T) {
	a, _ := newApp(t, 1)
	for _, path := range []string{"/", "/devices/" + node(0), "/gateways", "/people", "/account", "/audit", "/firmware", "/networks", "/alerts", "/zones", "/?q=" + url.QueryEscape(evil), "/audit?device=" + url.QueryEscape(evil)} {
		page, err := html.Parse(a.get(fabric.Administrator, path).Body)
		if err != nil {
			t.Fatal(err)
		}
		if text := words(page); !strings.Contains(text, evil) && !strings.Contains(path, "?q=") {
			t.Errorf("%s does not show the name as it is", path)
		}
	}
	page, _ := html.Parse(a.get(fabric.Administrator, "/?q="+url.QueryEscape(evil)).Body)
	for n := range page.Descendants() {
		if at := attributes(n); at["name"] == "q" && at["value"] != evil {
			t.Errorf("what is searched for is shown as %q", at["value"])
		}
	}
}

// TestFilter asks the gateway to filter the list, as a browser without modules
// does.
func TestFilter(t *testing.T) {
	a, _ := newApp(t, 30)
	for query, want := range map[string]int{"": 30, "?q=lamp+1": 12, "?q=LAMP+11": 1, "?q=acme+kitchen": 9, "?zone=guests": 15, "?show=away": 5, "?show=attention": 3, "?q=nobody": 0, "?q=lamp&zone=guests&show=away": 3} {
		body := a.get(fabric.Guest, "/"+query).Body.String()
		if got := strings.Count(body, `<li class="tile`); got != want {
			t.Errorf("%s: %d devices, not %d", query, got, want)
		}
	}
}

// TestOthers holds that a guest may look and switch, and an auditor only look.
func TestOthers(t *testing.T) {
	a, _ := newApp(t, 3)
	for role, switches := range map[fabric.Role]bool{fabric.Guest: true, fabric.Auditor: false, fabric.Administrator: true} {
		if body := a.get(role, "/").Body.String(); strings.Contains(body, `role="switch"`) != switches {
			t.Errorf("%v: that there are switches is %v", role, !switches)
		}
	}
	for role, adds := range map[fabric.Role]bool{fabric.Guest: false, fabric.Resident: false, fabric.Administrator: true} {
		if body := a.get(role, "/").Body.String(); strings.Contains(body, `href="/add"`) != adds {
			t.Errorf("%v: that there is a way to add devices is %v", role, !adds)
		}
	}
}

// TestLogin logs in and out by forms.
func TestLogin(t *testing.T) {
	a, api := newApp(t, 1)
	api.answers["POST /api/v1/login"] = func(w http.ResponseWriter, r *http.Request) any {
		var req portal.LoginRequest
		if json.NewDecoder(r.Body).Decode(&req) != nil || req.Name != "Rosa" || req.Password != " right " {
			return error(&commissioner.Failure{Code: login.CodeWrong, Message: "the name or the password is not right", Remedy: "try again"})
		}
		w.Header().Set("Set-Cookie", "__Host-gatehouse=secret")
		return portal.Session{}
	}
	api.answers["DELETE /api/v1/session"] = func(w http.ResponseWriter, r *http.Request) any {
		w.Header().Set("Set-Cookie", "__Host-gatehouse=; Max-Age=0")
		return portal.Done{Done: true}
	}
	post := func(role fabric.Role, path string, form url.Values) *httptest.ResponseRecorder {
		r := httptest.NewRequest(http.MethodPost, "https://gatehouse.local"+path, strings.NewReader(form.Encode()))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		return a.do(role, r)
	}
	w := post(0, "/login", url.Values{"name": {"Rosa"}, "password": {" right "}, "next": {"/devices/7?x=1"}})
	if w.Code != http.StatusSeeOther || w.Header().Get("Location") != "/devices/7?x=1" || w.Header().Get("Set-Cookie") != "__Host-gatehouse=secret" {
		t.Errorf("logged in: %d, %v", w.Code, w.Header())
	}
	w = post(0, "/login", url.Values{"name": {evil}, "password": {"wrong-password"}, "next": {"/add"}})
	body := w.Body.String()
	if w.Code != http.StatusForbidden || w.Header().Get("Set-Cookie") != "" || !strings.Contains(body, "not right") || !strings.Contains(body, `value="/add"`) || strings.Contains(body, "wrong-password") {
		t.Errorf("refused: %d, %v, %s", w.Code, w.Header(), body)
	}
	inspect(t, a, api, 0, "/login", w)
	if w = post(fabric.Guest, "/logout", nil); w.Code != http.StatusSeeOther || w.Header().Get("Location") != "/login" || !strings.Contains(w.Header().Get("Set-Cookie"), "Max-Age=0") {
		t.Errorf("logged out: %d, %v", w.Code, w.Header())
	}
	if w = post(0, "/login", url.Values{"name": {strings.Repeat("x", maxForm)}}); w.Code != http.StatusBadRequest {
		t.Errorf("a long form: %d", w.Code)
	}
	if w = post(0, "/people", nil); w.Code != http.StatusMethodNotAllowed {
		t.Errorf("a form without its module: %d", w.Code)
	}
}

func TestLocal(t *testing.T) {
	for next, want := range map[string]string{"": "/", "/": "/", "/devices/7?x=1": "/devices/7?x=1", "https://evil.example/": "/", "//evil.example": "/", "/\\evil.example": "/", "javascript:alert(1)": "/",
		"devices": "/", "/x\r\nSet-Cookie: a": "/", "/%2F/evil": "/", "///evil.example": "/", "/.//evil.example": "/.//evil.example"} {
		if got := local(next); got != want {
			t.Errorf("%q leads to %q, not %q", next, got, want)
		}
	}
}

// TestCertificate gives a phone what it takes, and nothing where the certificate
// is somebody else's.
func TestCertificate(t *testing.T) {
	a, api := newApp(t, 1)
	for path, want := range map[string]string{"/ca.crt": "application/x-x509-ca-cert", "/ca.pem": "application/x-pem-file", "/ca.mobileconfig": "application/x-apple-aspen-config"} {
		if w := a.get(0, path); w.Code != http.StatusOK || w.Header().Get("Content-Type") != want || w.Body.Len() < 300 {
			t.Errorf("%s: %d, %v, %d octets", path, w.Code, w.Header(), w.Body.Len())
		}
	}
	print := a.Authority().Fingerprint().String()
	page, _ := html.Parse(a.get(0, "/trust").Body)
	if told := strings.NewReplacer(" ", "", "\n", "").Replace(words(page)); !strings.Contains(told, print) {
		t.Errorf("the page does not show %s", print)
	}
	a.Authority = newAuthorityless
	if w := a.get(0, "/ca.crt"); w.Code != http.StatusNotFound {
		t.Errorf("a certificate of nobody: %d", w.Code)
	}
	inspect(t, a, api, 0, "/trust", a.get(0, "/trust"))
	r := httptest.NewRequest(http.MethodGet, "https://gatehouse.local/trust", nil)
	a, _ = newApp(t, 1)
	r.Header.Set("User-Agent", "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X)")
	if body := a.do(0, r).Body.String(); !strings.Contains(body, "<details open><summary>iPhone") || strings.Count(body, "<details open>") != 1 {
		t.Error("an iPhone is not told first how iPhones do it")
	}
}

// TestTrail reads the newest records first, and on to the oldest.
func TestTrail(t *testing.T) {
	a, _ := newApp(t, 3)
	numbers := func(path string) (list []string, next string) {
		t.Helper()
		page, err := html.Parse(a.get(fabric.Auditor, path).Body)
		if err != nil {
			t.Fatal(err)
		}
		for n := range page.Descendants() {
			at := attributes(n)
			if n.Data == "p" && at["class"] == "hint" {
				_, number, _ := strings.Cut(words(n), "no. ")
				list = append(list, number)
			}
			if n.Data == "a" && strings.HasPrefix(at["href"], "/audit?before=") {
				next = at["href"]
			}
		}
		return list, next
	}
	var all []string
	pages := 0
	for next := "/audit"; next != ""; pages++ {
		var list []string
		list, next = numbers(next)
		all = append(all, list...)
	}
	if want := numbersDown(119, 1); pages != 3 || !slices.Equal(all, want) {
		t.Errorf("%d pages of %v", pages, all)
	}
	list, next := numbers("/audit?device=" + node(1))
	if want := numbersDown(110, 10); !slices.Equal(list, want) || next != "" {
		t.Errorf("of one device: %v, then %q", list, next)
	}
}

func numbersDown(from, step int) (list []string) {
	for n := from; n >= 0; n -= step {
		list = append(list, fmt.Sprint(n))
	}
	return list
}
