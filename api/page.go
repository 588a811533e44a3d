package api

import (
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"mime"
	"net/http"
	"path"
)

//go:embed page/*
var pageFiles embed.FS

//go:embed openapi.json
var openAPI []byte

// page serves a file of the page. Browsers keep it and ask whether it changed.
func page(name string) http.Handler {
	data, err := pageFiles.ReadFile("page/" + name)
	if err != nil {
		panic(err) // the file is part of the program
	}
	return fixed(data, mime.TypeByExtension(path.Ext(name)))
}

func serveOpenAPI(w http.ResponseWriter, r *http.Request) {
	fixed(openAPI, "application/json").ServeHTTP(w, r)
}

// fixed serves what is part of the program.
func fixed(data []byte, contentType string) http.Handler {
	sum := sha256.Sum256(data)
	tag := `"` + hex.EncodeToString(sum[:8]) + `"`
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", contentType)
		w.Header().Set("Cache-Control", "no-cache")
		w.Header().Set("ETag", tag)
		if r.Header.Get("If-None-Match") == tag {
			w.WriteHeader(http.StatusNotModified)
			return
		}
		_, _ = w.Write(data) // the client may have gone
	})
}
