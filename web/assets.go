package web

import (
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"html/template"
	"net/http"
)

//go:embed templates/*.tmpl
var templateFiles embed.FS

//go:embed style.css
var stylesheet []byte

//go:embed live.js
var script []byte

//go:embed icon.svg
var icon []byte

// Where the assets are. Pages name them with a hash of their content, so that
// browsers keep them until there are others.
const (
	stylePath  = "/style.css"
	scriptPath = "/live.js"
	iconPath   = "/icon.svg"
)

var (
	styleAddress  = stylePath + "?v=" + digest(stylesheet)
	scriptAddress = scriptPath + "?v=" + digest(script)

	templates = template.Must(template.New("").Funcs(functions()).ParseFS(templateFiles, "templates/*.tmpl"))
)

// digest identifies content.
func digest(content ...[]byte) string {
	h := sha256.New()
	for _, c := range content {
		h.Write(c)
		h.Write([]byte{0})
	}
	return hex.EncodeToString(h.Sum(nil)[:6])
}

func asset(mediaType string, content []byte) http.HandlerFunc {
	version := digest(content)
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", mediaType)
		w.Header().Set("Cache-Control", "public, max-age=300")
		if r.URL.Query().Get("v") == version {
			w.Header().Set("Cache-Control", "public, max-age=31536000, immutable")
		}
		_, _ = w.Write(content) // a client that left needs no answer
	}
}
