//go:build linux

package main

import (
	"os"
	"path/filepath"
	"testing"
)

func TestReplaceSection(t *testing.T) {
	file := filepath.Join(t.TempDir(), "README.md")
	write := func(text string) {
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write("# Title\n\n" + sectionBegin + "old\n" + sectionEnd + "\nThe rest.\n")
	for _, text := range []string{"new\n", "", "newer\n\n| a |\n"} {
		if err := checkSection(file); err != nil {
			t.Fatal(err)
		}
		if err := replaceSection(file, []byte(text)); err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(file)
		if want := "# Title\n\n" + sectionBegin + text + sectionEnd + "\nThe rest.\n"; err != nil || string(got) != want {
			t.Errorf("%q, %v", got, err)
		}
	}
	for _, text := range []string{"", sectionBegin, sectionEnd + sectionBegin} {
		write(text)
		if checkSection(file) == nil || replaceSection(file, []byte("x")) == nil {
			t.Errorf("no error for a file with %q", text)
		}
		if got, err := os.ReadFile(file); err != nil || string(got) != text {
			t.Errorf("the file was touched: %q, %v", got, err)
		}
	}
}
