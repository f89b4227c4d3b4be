package app

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"encoding/json"
	"io/fs"
	"maps"
	"net/http"
	"path"
	"slices"
	"strconv"
	"strings"
)

//go:embed pages assets
var files embed.FS

// kinds are the media types of assets.
var kinds = map[string]string{".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml", ".webmanifest": "application/manifest+json"}

// assets are the files that pages load. They are below a path that names all
// their content, so that modules import each other by relative names and a
// browser need never ask for one twice.
type assets struct {
	base  string // ends with a slash
	files map[string]asset
}

type asset struct {
	kind          string
	plain, zipped []byte
}

// newAssets takes the embedded files, and the catalogue's texts for modules.
func newAssets() *assets {
	plain := map[string][]byte{"text.js": textModule()}
	names, _ := fs.Glob(files, "assets/*") // the pattern is constant
	for _, name := range names {
		content, err := files.ReadFile(name)
		if err != nil {
			panic(err) // it is embedded
		}
		plain[path.Base(name)] = content
	}
	a, all := &assets{files: make(map[string]asset)}, sha256.New()
	for _, name := range slices.Sorted(maps.Keys(plain)) {
		sum := sha256.Sum256(plain[name])
		all.Write([]byte(name + "\n"))
		all.Write(sum[:])
		a.files[name] = asset{kinds[path.Ext(name)], plain[name], zip(plain[name])}
	}
	a.base = "/assets/" + hex.EncodeToString(all.Sum(nil)[:8]) + "/"
	return a
}

func zip(b []byte) []byte {
	var out bytes.Buffer
	z, _ := gzip.NewWriterLevel(&out, gzip.BestCompression) // there is such a level
	z.Write(b)                                              // a Buffer takes everything
	z.Close()
	return out.Bytes()
}

// path is where an asset is.
func (a *assets) path(name string) string {
	if _, ok := a.files[name]; !ok {
		panic("app: there is no asset " + name) // a test makes every page
	}
	return a.base + name
}

func (a *assets) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f, ok := a.files[strings.TrimPrefix(r.URL.Path, a.base)]
	if !ok {
		http.NotFound(w, r)
		return
	}
	h, body := w.Header(), f.plain
	h.Set("Content-Type", f.kind)
	h.Set("Cache-Control", "public, max-age=31536000, immutable")
	h.Set("Vary", "Accept-Encoding")
	if acceptsGzip(r) {
		h.Set("Content-Encoding", "gzip")
		body = f.zipped
	}
	h.Set("Content-Length", strconv.Itoa(len(body)))
	w.Write(body)
}

// textModule gives modules the texts that they use.
func textModule() []byte {
	texts := make(map[string]string)
	for key, text := range english {
		if family, _, _ := strings.Cut(key, "."); slices.Contains(moduleFamilies, family) {
			texts[key] = text
		}
	}
	b, err := json.Marshal(texts) // in the keys' order
	if err != nil {
		panic(err) // they are texts
	}
	return []byte("const texts = " + string(b) + `;
// t is a text of the catalogue, with {names} replaced by values.
export const t = (key, values = {}) => (texts[key] ?? key).replace(/\{(\w+)\}/g, (_, name) => values[name] ?? "");
// has tells whether there is such a text.
export const has = (key) => key in texts;
`)
}
