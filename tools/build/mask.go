package main

import (
	"bufio"
	"io"
	"os"
	"regexp"
	"strings"
)

const (
	masked = "***"
	// maxLine bounds what is held back to look at it as a whole.
	maxLine = 1 << 16
)

// looks are what credentials look like, and what is shown instead. They cannot know every secret: a
// build is given none of an App's, so what is printed stands in the repository or in its history.
var looks = []struct {
	found *regexp.Regexp
	shown string
}{
	{regexp.MustCompile(`(://[^/\s:@]*:)[^@/\s]+@`), "${1}" + masked + "@"},
	{regexp.MustCompile(`(?i)\b((?:bearer|basic)\s+)[A-Za-z0-9._~+/=-]{8,}`), "${1}" + masked},
	{regexp.MustCompile(`\beyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*`), masked},
	{regexp.MustCompile(`\b(?:gh[pousr]_\w{20,}|github_pat_\w{20,}|glpat-[\w-]{16,}|` +
		`xox[abprs]-[\w-]{10,}|AKIA[0-9A-Z]{16}|npm_\w{30,}|sk_live_\w{10,})`), masked},
	{regexp.MustCompile(`\b([A-Z0-9_]*(?:TOKEN|SECRET|PASSWORD|PASSWD|API_?KEY|PRIVATE_?KEY|` +
		`CREDENTIALS?)[A-Z0-9_]*=)("[^"]*"|'[^']*'|[^\s"',;&|]+)`), "${1}" + masked},
}

var keyBegin, keyEnd = "-----BEGIN ", "-----END "

// masker hides credentials line by line; private keys span several.
type masker struct{ inKey bool }

func (m *masker) line(text string) string {
	if m.inKey {
		m.inKey = !strings.Contains(text, keyEnd)
		return masked
	}
	if strings.Contains(text, keyBegin) && strings.Contains(text, "PRIVATE KEY") {
		m.inKey = !strings.Contains(text, keyEnd)
		return masked
	}
	for _, each := range looks {
		text = each.found.ReplaceAllString(text, each.shown)
	}
	return text
}

func mask(text string) string {
	var m masker
	lines := strings.Split(text, "\n")
	for number, each := range lines {
		lines[number] = m.line(each)
	}
	return strings.Join(lines, "\n")
}

// maskOutput lets nothing out of this process unmasked that it prints. The function it returns
// waits until everything is printed.
func maskOutput() (func(), error) {
	reader, writer, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	printed, done := os.Stdout, make(chan struct{})
	os.Stdout, os.Stderr = writer, writer
	go func() {
		defer close(done)
		copyMasked(printed, reader)
	}()
	return func() {
		_ = writer.Close()
		<-done
	}, nil
}

func copyMasked(into io.Writer, from io.Reader) {
	var m masker
	lines := bufio.NewReaderSize(from, maxLine)
	for {
		line, err := lines.ReadSlice('\n')
		if len(line) > 0 {
			text := strings.TrimSuffix(string(line), "\n")
			_, _ = io.WriteString(into, m.line(text)+string(line[len(text):]))
		}
		if err != nil && err != bufio.ErrBufferFull {
			return
		}
	}
}
