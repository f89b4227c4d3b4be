// Package app is the home's web page: what a person sees on a phone.
//
// It promises that a page shows nobody more than the API tells them, for it has
// all it shows from the API, asked as the visitor; that pages and modules hold no
// script, style or text of anybody's that runs; that a browser fetches nothing
// from anywhere but this gateway; and that the first screen weighs no more than
// 150 KB on the wire. Pages are read without JavaScript; what changes something
// needs it, but for logging in and out. It keeps no state and no session.
package app

import (
	"bytes"
	"cmp"
	"compress/gzip"
	"errors"
	"html/template"
	"io/fs"
	"log/slog"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"

	"gatehouse/commissioner"
	"gatehouse/commissioner/portal"
	"gatehouse/commissioner/portal/door"
	"gatehouse/commissioner/portal/webpki"
)

// Config is what an App is made of.
type Config struct {
	API http.Handler // asked with the visitor's context: who they are is in it
	// Authority is that of the page's certificate; nil: none of the home's own.
	Authority func() *webpki.Authority
	Log       *slog.Logger
}

// App serves the pages.
type App struct {
	Config
	assets *assets
	pages  map[string]*template.Template
	mux    *http.ServeMux
}

// New is an App.
func New(cfg Config) *App {
	a := &App{Config: cfg, assets: newAssets(), pages: make(map[string]*template.Template), mux: http.NewServeMux()}
	layout := template.Must(template.New("layout").Funcs(a.funcs()).ParseFS(files, "pages/layout.html", "pages/parts.html"))
	for _, name := range pageNames() {
		a.pages[name] = template.Must(template.Must(layout.Clone()).ParseFS(files, "pages/"+name+".html"))
	}
	for _, s := range screens() {
		a.mux.HandleFunc("GET "+s.path, func(w http.ResponseWriter, r *http.Request) { a.screen(w, r, s) })
	}
	a.mux.HandleFunc("POST /login", a.login)
	a.mux.HandleFunc("POST /logout", a.logout)
	a.mux.Handle("GET "+a.assets.base, a.assets)
	a.mux.HandleFunc("GET /ca.crt", a.certificate(webpki.MediaDER, (*webpki.Authority).DER))
	a.mux.HandleFunc("GET /ca.pem", a.certificate(webpki.MediaPEM, (*webpki.Authority).PEM))
	a.mux.HandleFunc("GET /ca.mobileconfig", a.certificate(webpki.MediaProfile, func(c *webpki.Authority) []byte { return c.Profile(text("trust.profile")) }))
	a.mux.HandleFunc("GET /favicon.ico", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, a.assets.path("icon.svg"), http.StatusFound)
	})
	a.mux.HandleFunc("/", a.nothing)
	return a
}

// pageNames are the templates that are whole pages.
func pageNames() (names []string) {
	all, _ := fs.Glob(files, "pages/*.html") // the pattern is constant
	for _, name := range all {
		name = strings.TrimSuffix(strings.TrimPrefix(name, "pages/"), ".html")
		if name != "layout" && name != "parts" {
			names = append(names, name)
		}
	}
	return names
}

func (a *App) ServeHTTP(w http.ResponseWriter, r *http.Request) { a.mux.ServeHTTP(w, r) }

// visit is one look at a screen.
type visit struct {
	app *App
	r   *http.Request
	*view
}

// view is what a page is made of.
type view struct {
	Name    string // of the screen: its template, and where its texts are
	Path    string
	Section string // of the navigation that the screen belongs to
	Title   string // other than the catalogue's
	Home    string // what the home is called; empty: nobody is logged in
	Session *portal.Session
	May     map[string]bool
	Failure *commissioner.Failure
	Data    any
}

// screen shows a screen to those who may see it.
func (a *App) screen(w http.ResponseWriter, r *http.Request, s screen) {
	v := &visit{a, r, &view{Name: s.name, Path: r.URL.Path, Section: s.section(), May: map[string]bool{}}}
	err := v.enter()
	if refused := new(commissioner.Failure); errors.As(err, &refused) && refused.Code == door.CodeLogin && s.need == door.Nothing {
		err = nil
	} else if errors.As(err, &refused) && refused.Code == door.CodeLogin {
		http.Redirect(w, r, "/login?next="+url.QueryEscape(r.URL.RequestURI()), http.StatusSeeOther)
		return
	}
	if err == nil && s.need > door.Known && !v.May[s.need.String()] {
		err = &commissioner.Failure{Code: door.CodeRole, Message: text("refused.what"), Remedy: text("refused.remedy")}
	}
	if err == nil && s.data != nil {
		v.Data, err = s.data(v)
	}
	if err != nil {
		a.failed(w, r, v.view, err)
		return
	}
	a.render(w, r, v.view, http.StatusOK)
}

// enter finds out who the visitor is.
func (v *visit) enter() error {
	var s portal.Session
	if err := v.get("/api/v1/session", &s); err != nil {
		return err
	}
	v.Session = &s
	for _, need := range s.May {
		v.May[need] = true
	}
	var status portal.Status
	if err := v.get("/api/v1/status", &status); err != nil {
		return err
	}
	v.Home = status.Home
	return nil
}

// failed shows why there is no such page as was asked for.
func (a *App) failed(w http.ResponseWriter, r *http.Request, v *view, err error) {
	status := http.StatusServiceUnavailable
	v.Failure = commissioner.Explain(err, commissioner.CodeInternal)
	switch v.Failure.Code {
	case door.CodeRole:
		status = http.StatusForbidden
	case commissioner.CodeUnknownDevice, codeNoPage:
		status = http.StatusNotFound
	default:
		a.Log.Info("a page was not shown", "path", r.URL.Path, "err", err)
	}
	v.Name = "failed"
	a.render(w, r, v, status)
}

const codeNoPage commissioner.Code = "page-unknown"

// nothing answers for pages that there are not.
func (a *App) nothing(w http.ResponseWriter, r *http.Request) {
	v := &visit{a, r, &view{Path: r.URL.Path, May: map[string]bool{}}}
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		http.Error(w, text("app.script"), http.StatusMethodNotAllowed) // a form that its module did not take
		return
	}
	if v.enter() != nil {
		v.Session, v.Home = nil, ""
	}
	a.failed(w, r, v.view, &commissioner.Failure{Code: codeNoPage, Message: text("missing.what"), Remedy: text("missing.remedy")})
}

// buffers hold pages that are being made: a page that fails half-way is not
// sent half.
var buffers = sync.Pool{New: func() any { return new(bytes.Buffer) }}

// render sends a page. That it is compressed tells nobody anything of a secret:
// there is none in a page, and another site's requests come without the cookie.
func (a *App) render(w http.ResponseWriter, r *http.Request, v *view, status int) {
	page := buffers.Get().(*bytes.Buffer)
	defer buffers.Put(page)
	page.Reset()
	if err := a.pages[v.Name].ExecuteTemplate(page, "layout", v); err != nil {
		a.Log.Error("a page could not be made", "page", v.Name, "err", err)
		http.Error(w, text("app.broken"), http.StatusInternalServerError)
		return
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Cache-Control", "no-store")
	h.Set("Vary", "Accept-Encoding")
	if !acceptsGzip(r) {
		h.Set("Content-Length", strconv.Itoa(page.Len()))
		w.WriteHeader(status)
		w.Write(page.Bytes())
		return
	}
	h.Set("Content-Encoding", "gzip")
	w.WriteHeader(status)
	z := zippers.Get().(*gzip.Writer)
	defer zippers.Put(z)
	z.Reset(w)
	z.Write(page.Bytes()) // who asked may have gone
	z.Close()
}

var zippers = sync.Pool{New: func() any {
	z, _ := gzip.NewWriterLevel(nil, gzip.BestSpeed) // there is such a level
	return z
}}

func acceptsGzip(r *http.Request) bool {
	for part := range strings.SplitSeq(r.Header.Get("Accept-Encoding"), ",") {
		if name, weight, _ := strings.Cut(strings.TrimSpace(part), ";"); name == "gzip" && strings.TrimSpace(weight) != "q=0" {
			return true
		}
	}
	return false
}

// login logs in by a form, which browsers' password stores know best.
func (a *App) login(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	if err := r.ParseForm(); err != nil {
		http.Error(w, text("app.broken"), http.StatusBadRequest)
		return
	}
	next := local(r.PostForm.Get("next"))
	got := a.call(r, http.MethodPost, "/api/v1/login", portal.LoginRequest{Name: r.PostForm.Get("name"), Password: r.PostForm.Get("password"), Code: strings.TrimSpace(r.PostForm.Get("code"))})
	if err := got.failure(); err != nil {
		v := &view{Name: "login", Path: "/login", May: map[string]bool{}, Failure: commissioner.Explain(err, commissioner.CodeInternal), Data: loginPage{next, r.PostForm.Get("name")}}
		a.render(w, r, v, got.status)
		return
	}
	copyCookies(w, got)
	http.Redirect(w, r, next, http.StatusSeeOther)
}

// maxForm bounds what a form may hold, in octets.
const maxForm = 16 << 10

// logout also works for who has no session any more.
func (a *App) logout(w http.ResponseWriter, r *http.Request) {
	copyCookies(w, a.call(r, http.MethodDelete, "/api/v1/session", nil))
	http.Redirect(w, r, "/login", http.StatusSeeOther)
}

func copyCookies(w http.ResponseWriter, got *answer) {
	for _, c := range got.header.Values("Set-Cookie") {
		w.Header().Add("Set-Cookie", c)
	}
}

// local is the path of this site that next is, or the first page.
func local(next string) string {
	u, err := url.Parse(next)
	if err != nil || u.Scheme != "" || u.Host != "" || u.User != nil || !strings.HasPrefix(u.Path, "/") || strings.HasPrefix(u.Path, "//") || strings.ContainsAny(next, "\\\r\n") {
		return "/"
	}
	return cmp.Or(u.RequestURI(), "/")
}

// certificate gives a phone the authority's certificate.
func (a *App) certificate(kind string, file func(*webpki.Authority) []byte) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		authority := a.Authority()
		if authority == nil {
			a.nothing(w, r)
			return
		}
		name := "gatehouse" + r.URL.Path[strings.LastIndexByte(r.URL.Path, '.'):]
		w.Header().Set("Content-Type", kind)
		if kind != webpki.MediaProfile { // which Apple's systems take in by themselves
			w.Header().Set("Content-Disposition", `attachment; filename="`+name+`"`)
		}
		w.Header().Set("Cache-Control", "no-store")
		w.Write(file(authority))
	}
}
