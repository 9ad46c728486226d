package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"
	"unicode/utf8"

	"github.com/go-git/go-git/v5/plumbing/filemode"
	"github.com/go-git/go-git/v5/plumbing/object"
	"github.com/go-git/go-git/v5/storage/filesystem"
)

const (
	maxDepth    = 64
	maxName     = 255
	maxLinkText = 4096
)

// checkout writes the files of a tree below one folder and nowhere else: the folder is held open and
// every path is looked up inside it by the kernel.
type checkout struct {
	root               *os.Root
	store              *filesystem.Storage
	maxBytes           int64
	maxFiles           int
	bytes              int64
	files              int
	links, unpopulated []string
}

func newCheckout(
	into string, maxBytes int64, maxFiles int, store *filesystem.Storage,
) (*checkout, error) {
	root, err := os.OpenRoot(into)
	if err != nil {
		return nil, err
	}
	return &checkout{root: root, store: store, maxBytes: maxBytes, maxFiles: maxFiles}, nil
}

func (c *checkout) close() { _ = c.root.Close() }

func (c *checkout) write(tree *object.Tree, folder string, depth int) error {
	if depth > maxDepth {
		return faultf("repository: %.80q lies more than %d folders deep", folder, maxDepth)
	}
	for _, entry := range tree.Entries {
		if err := checkName(folder, entry.Name); err != nil {
			return err
		}
		if c.files++; c.files > c.maxFiles {
			return faultf("repository: the commit has more than %d files", c.maxFiles)
		}
		if err := c.writeEntry(entry, path.Join(folder, entry.Name), depth); err != nil {
			return err
		}
	}
	return nil
}

func (c *checkout) writeEntry(entry object.TreeEntry, name string, depth int) error {
	switch entry.Mode {
	case filemode.Dir:
		if err := c.root.Mkdir(name, 0o755); err != nil {
			return unusable(name, err)
		}
		below, err := object.GetTree(c.store, entry.Hash)
		if err != nil {
			return err
		}
		return c.write(below, name, depth+1)
	case filemode.Submodule:
		fmt.Printf("%s is a submodule: left empty, submodules are not fetched\n", name)
		return unusable(name, c.root.Mkdir(name, 0o755))
	case filemode.Symlink:
		return c.writeLink(entry, name)
	case filemode.Regular, filemode.Executable, filemode.Deprecated:
		return c.writeFile(entry, name)
	}
	return faultf("repository: %.80q is of an unknown kind (%s)", name, entry.Mode)
}

func (c *checkout) writeFile(entry object.TreeEntry, name string) error {
	blob, err := object.GetBlob(c.store, entry.Hash)
	if err != nil {
		return err
	}
	if c.bytes += blob.Size; c.bytes > c.maxBytes {
		return faultf("repository: the files of the commit have more than %d bytes", c.maxBytes)
	}
	content, err := blob.Reader()
	if err != nil {
		return err
	}
	defer content.Close()
	mode := os.FileMode(0o644)
	if entry.Mode == filemode.Executable {
		mode = 0o755
	}
	file, err := c.root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return unusable(name, err)
	}
	if _, err := io.Copy(file, content); err != nil {
		_ = file.Close()
		return err
	}
	return file.Close()
}

// writeLink refuses links that lead out of the repository, or might through another link.
func (c *checkout) writeLink(entry object.TreeEntry, name string) error {
	blob, err := object.GetBlob(c.store, entry.Hash)
	if err != nil {
		return err
	}
	if blob.Size > maxLinkText {
		return faultf("repository: the link %.80q is too long", name)
	}
	content, err := blob.Reader()
	if err != nil {
		return err
	}
	defer content.Close()
	text, err := io.ReadAll(content)
	if err != nil {
		return err
	}
	target := string(text)
	inside := path.Join(path.Dir(name), target)
	if target == "" || path.IsAbs(target) || strings.ContainsRune(target, 0) ||
		inside == ".." || strings.HasPrefix(inside, "../") || turnsBack(target) {
		return faultf("repository: the link %.80q leads out of the repository", name)
	}
	return unusable(name, c.root.Symlink(target, name))
}

// turnsBack tells whether a target has `..` behind a name: if that name is a link as well, the way
// back leads from where that link leads.
func turnsBack(target string) bool {
	named := false
	for part := range strings.SplitSeq(target, "/") {
		if part == ".." && named {
			return true
		}
		named = named || (part != ".." && part != "." && part != "")
	}
	return false
}

// unusable blames the repository for names that clash; a full disk is nobody's fault but ours.
func unusable(name string, err error) error {
	if errors.Is(err, fs.ErrExist) {
		return faultf("repository: %.80q is there twice", name)
	}
	return err
}

// checkName refuses what git itself refuses in a tree, and what only hides something from people.
func checkName(folder, name string) error {
	bad := name == "" || name == "." || name == ".." || len(name) > maxName ||
		strings.ContainsAny(name, "/\x00") || !utf8.ValidString(name)
	folded := strings.ToLower(strings.TrimRight(name, ". "))
	if bad || folded == ".git" || folded == "git~1" {
		return faultf("repository: %.80q is no name that a file may have", path.Join(folder, name))
	}
	return nil
}
