package main

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"path"
	"regexp"
	"strings"

	"github.com/go-git/go-git/v5/plumbing/filemode"
	"github.com/go-git/go-git/v5/plumbing/object"
	"github.com/go-git/go-git/v5/storage/filesystem"
)

// skipped says that the commit need not be built, and why.
type skipped struct{ reason string }

func (s skipped) Error() string { return s.reason }

// Only words of our own: `[skip ci]` speaks of tests, and what releases a program often writes it.
var skipWords = regexp.MustCompile(`(?i)\[(skip bex|bex skip)\]`)

// list is an option that may be given repeatedly.
type list []string

func (l *list) String() string { return strings.Join(*l, ",") }

func (l *list) Set(value string) error {
	*l = append(*l, value)
	return nil
}

// need tells whether the commit has to be built, beside an image of which the base scope is known.
func (o *cloneOptions) need(message, scope string) error {
	switch {
	case o.baseScope == "":
		return nil
	case skipWords.MatchString(message):
		return skipped{"its message says " + strings.ToLower(skipWords.FindString(message))}
	case scope == o.baseScope:
		return skipped{"it changes nothing that the image is built from"}
	}
	return nil
}

// scope digests the files that count: two commits with the same scope need only one build.
func (o *cloneOptions) scope(store *filesystem.Storage, tree *object.Tree) (string, error) {
	seen := &scopeWalk{options: o, store: store, hash: sha256.New()}
	if err := seen.add(tree, "", 0); err != nil {
		return "", err
	}
	return hex.EncodeToString(seen.hash.Sum(nil))[:32], nil
}

type scopeWalk struct {
	options *cloneOptions
	store   *filesystem.Storage
	hash    hash.Hash
	files   int
}

func (w *scopeWalk) add(tree *object.Tree, folder string, depth int) error {
	if depth > maxDepth {
		return faultf("repository: %.80q lies more than %d folders deep", folder, maxDepth)
	}
	for _, entry := range tree.Entries {
		if err := checkName(folder, entry.Name); err != nil {
			return err
		}
		if w.files++; w.files > w.options.maxFiles {
			return faultf("repository: the commit has more than %d files", w.options.maxFiles)
		}
		name := path.Join(folder, entry.Name)
		if entry.Mode == filemode.Dir {
			below, err := object.GetTree(w.store, entry.Hash)
			if err != nil {
				return err
			}
			if err := w.add(below, name, depth+1); err != nil {
				return err
			}
		} else if w.options.counts.match(name) && !w.options.ignored.match(name) {
			fmt.Fprintf(w.hash, "%s %s %q\n", entry.Mode, entry.Hash, name)
		}
	}
	return nil
}

// match tells whether a pattern names the file or a folder above it.
func (l list) match(name string) bool {
	parts := strings.Split(name, "/")
	for _, pattern := range l {
		pattern = path.Clean(pattern)
		if pattern == "." || matchParts(strings.Split(pattern, "/"), parts) {
			return true
		}
	}
	return false
}

func matchParts(pattern, parts []string) bool {
	if len(pattern) == 0 {
		return true
	}
	if pattern[0] == "**" {
		for skip := range parts {
			if matchParts(pattern[1:], parts[skip:]) {
				return true
			}
		}
		return false
	}
	if len(parts) == 0 {
		return false
	}
	matched, err := path.Match(pattern[0], parts[0])
	return err == nil && matched && matchParts(pattern[1:], parts[1:])
}
