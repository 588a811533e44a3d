package main

import (
	"encoding/json"
	"os"
	"strings"
	"testing"
)

func TestWrite_listsTheModulesOfThisProgram(t *testing.T) {
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	if err := write(&out, exe); err != nil {
		t.Fatal(err)
	}
	var b bom
	if err := json.Unmarshal([]byte(out.String()), &b); err != nil {
		t.Fatal(err)
	}
	if b.Format != "CycloneDX" || b.Metadata.Component.Name != "sbom" || len(b.Components) == 0 || b.Components[0].Name != "std" {
		t.Errorf("%s", out.String())
	}
	if err := write(&out, "main.go"); err == nil {
		t.Error("no error for what is no program")
	}
}
