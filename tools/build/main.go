// Command bex-build is every step between a git repository and an image in a registry: clone,
// resolve, build and push. Each runs in a container of its own with a credential of its own and
// leaves what it found as one JSON object where the kubelet picks it up.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"
)

const (
	// exitRepository says that the repository has to change: trying again is of no use.
	exitRepository = 90
	// exitPlatform says that the same may work another time.
	exitPlatform = 91
	// exitSkipped says that there is nothing to build.
	exitSkipped = 92

	// maxMessage leaves room for the other fields: a kubelet keeps 4096 bytes.
	maxMessage = 2800
)

// fault is an error that the people behind the repository can mend.
type fault struct{ message string }

func (f fault) Error() string { return f.message }

func faultf(format string, args ...any) error { return fault{fmt.Sprintf(format, args...)} }

// outcome is what a step tells about itself.
type outcome struct {
	Step     string  `json:"step"`
	Began    string  `json:"began"`
	Seconds  float64 `json:"seconds"`
	Fault    string  `json:"fault,omitempty"`
	Message  string  `json:"message,omitempty"`
	Commit   string  `json:"commit,omitempty"`
	Author   string  `json:"author,omitempty"`
	Subject  string  `json:"subject,omitempty"`
	Strategy string  `json:"strategy,omitempty"`
	Digest   string  `json:"digest,omitempty"`
	// Scope digests the files that count for the build.
	Scope   string `json:"scope,omitempty"`
	Skipped string `json:"skipped,omitempty"`
	// Refs are commits by the names that were asked for.
	Refs map[string]string `json:"refs,omitempty"`
}

type step func(ctx context.Context, flags *flag.FlagSet, args []string, told *outcome) error

var steps = map[string]step{
	"refs": refs, "clone": clone, "resolve": resolve, "build": build, "push": push, "phase": phase,
	"room": room,
}

func main() {
	if len(os.Args) < 2 || steps[os.Args[1]] == nil {
		fmt.Fprintln(os.Stderr, "usage: bex-build refs|room|clone|resolve|build|push|phase OPTIONS")
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	printed, err := maskOutput()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bex-build:", err)
		os.Exit(exitPlatform)
	}
	code := run(ctx, os.Args[1], os.Args[2:])
	stop()
	printed()
	os.Exit(code)
}

func run(ctx context.Context, name string, args []string) int {
	started := time.Now()
	told := &outcome{Step: name, Began: started.UTC().Format("2006-01-02T15:04:05.000Z07:00")}
	flags := flag.NewFlagSet(name, flag.ContinueOnError)
	result := flags.String("result", "/dev/termination-log", "file for the outcome as JSON")
	err := steps[name](ctx, flags, args, told)
	told.Seconds = float64(time.Since(started).Milliseconds()) / 1000
	code := 0
	var unneeded skipped
	if errors.As(err, &unneeded) {
		code, told.Skipped = exitSkipped, unneeded.reason
		fmt.Printf("not built: %s\n", unneeded.reason)
	} else if err != nil {
		code, told.Fault = exitPlatform, "platform"
		var theirs fault
		if errors.As(err, &theirs) {
			code, told.Fault = exitRepository, "repository"
		}
		told.Message = shorten(err.Error())
		fmt.Fprintf(os.Stderr, "bex-build %s: %s\n", name, err)
	}
	if err := told.write(*result); err != nil {
		fmt.Fprintln(os.Stderr, "bex-build:", err)
		return exitPlatform
	}
	return code
}

func (o *outcome) write(path string) error {
	content, err := json.Marshal(o)
	if err != nil {
		return err
	}
	return os.WriteFile(path, content, 0o644)
}

// shorten keeps the end, where compilers say what is wrong, and drops what no terminal should get.
func shorten(text string) string {
	text = mask(text)
	text = strings.Map(func(r rune) rune {
		if (r < ' ' && r != '\n' && r != '\t') || r == 0x7f {
			return -1
		}
		return r
	}, strings.ToValidUTF8(text, "?"))
	if len(text) <= maxMessage {
		return text
	}
	return "…" + strings.ToValidUTF8(text[len(text)-maxMessage:], "")
}
