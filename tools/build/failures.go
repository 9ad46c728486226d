package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/moby/buildkit/client"
	"github.com/opencontainers/go-digest"
)

const (
	keptLogBytes = 4096
	shownLines   = 15
	pushesAgain  = "`bex up` pushes it again, or `bex images builder` where that was used"
)

// failures keeps the last lines of every step of a Dockerfile, for the one that fails.
type failures struct {
	logs   map[digest.Digest][]byte
	failed []*client.Vertex
	// scanner is the platform's own: nobody else can mend it.
	scanner string
}

func newFailures(scanner string) *failures {
	return &failures{logs: map[digest.Digest][]byte{}, scanner: scanner}
}

func (f *failures) add(status *client.SolveStatus) {
	for _, each := range status.Logs {
		kept := append(f.logs[each.Vertex], each.Data...)
		f.logs[each.Vertex] = kept[max(0, len(kept)-keptLogBytes):]
	}
	for _, each := range status.Vertexes {
		if each.Error != "" {
			f.failed = append(f.failed, each)
		}
	}
}

// transient are what errors of networks and registries say. Only BuildKit's own words are searched
// for them, never what a step of the Dockerfile printed.
var transient = []string{
	"connection refused", "connection reset", "i/o timeout", "TLS handshake timeout",
	"no such host", "server misbehaving", "temporary failure", "unexpected EOF",
	"502 Bad Gateway", "503 Service Unavailable", "504 Gateway", "429 Too Many Requests",
	"no space left on device", "network is unreachable", "no route to host",
}

func (f *failures) explain(err error) error {
	if errors.Is(err, context.Canceled) {
		return err
	}
	said := err.Error()
	if f.isScannerLost(said) {
		return fmt.Errorf("the platform's image %s is not in its registry: %s (%s)",
			f.scanner, pushesAgain, said)
	}
	// Not every step that fails is fatal: a first build finds no cache. The one whose words the
	// whole failed with was. Errors of reading the Dockerfile come without a step.
	for _, each := range f.failed {
		if !strings.Contains(said, each.Error) {
			continue
		}
		text := each.Name
		if printed := tail(string(f.logs[each.Digest]), shownLines); printed != "" {
			text += "\n" + printed
		}
		text += "\n" + each.Error
		if f.scanner != "" && strings.HasSuffix(each.Name, "] generating sbom using "+f.scanner) {
			return errors.New(text)
		}
		return blame(each.Error, text)
	}
	return blame(said, said)
}

// isScannerLost tells it by BuildKit's own words; what a Dockerfile says may stand in those of a step
// that failed.
func (f *failures) isScannerLost(said string) bool {
	return f.scanner != "" && strings.Contains(said, f.scanner+": not found") &&
		!strings.Contains(said, "did not complete successfully")
}

func blame(said, text string) error {
	if strings.Contains(said, "did not complete successfully") {
		return fault{text}
	}
	for _, each := range transient {
		if strings.Contains(said, each) {
			return errors.New(text)
		}
	}
	return fault{text}
}
