package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// tree is the folder in which distribution's file-system driver keeps everything. Source: the
// layout that registry/storage/paths.go of distribution describes.
type tree struct{ root string }

func (t tree) path(parts ...string) string {
	return filepath.Join(append([]string{t.root, "docker", "registry", "v2"}, parts...)...)
}

// blob names the file of a blob; digest has been checked to be `sha256:` and 64 digits.
func (t tree) blob(digest string) string {
	hex := strings.TrimPrefix(digest, "sha256:")
	return t.path("blobs", "sha256", hex[:2], hex, "data")
}

func (t tree) readManifest(digest string) ([]byte, error) {
	found, err := os.Stat(t.blob(digest))
	if err != nil {
		return nil, err
	}
	if found.Size() > maxManifest {
		return nil, fmt.Errorf("%s is no manifest: it is too long", digest)
	}
	return os.ReadFile(t.blob(digest))
}

// blobs calls visit with every blob.
func (t tree) blobs(visit func(digest string, found fs.FileInfo) error) error {
	return walk(t.path("blobs", "sha256"), func(path string, entry fs.DirEntry) error {
		if entry.Name() != "data" {
			return nil
		}
		found, err := entry.Info()
		if err != nil {
			return ignoreMissing(err)
		}
		digest := "sha256:" + filepath.Base(filepath.Dir(path))
		if !digests.MatchString(digest) {
			return nil
		}
		return visit(digest, found)
	})
}

// repositories lists the names of all repositories, also of those with nothing in them.
func (t tree) repositories() ([]string, error) {
	root := t.path("repositories")
	var names []string
	err := walk(root, func(path string, entry fs.DirEntry) error {
		if !entry.IsDir() || !strings.HasPrefix(entry.Name(), "_") {
			return nil
		}
		name, err := filepath.Rel(root, filepath.Dir(path))
		if err != nil {
			return err
		}
		if len(names) == 0 || names[len(names)-1] != name {
			names = append(names, name)
		}
		return filepath.SkipDir
	})
	return names, err
}

// links returns the digests that a repository has links to: its layers or its revisions.
func (t tree) links(repository string, kind ...string) ([]string, error) {
	parts := append([]string{"repositories", repository}, kind...)
	entries, err := os.ReadDir(t.path(append(parts, "sha256")...))
	if err != nil {
		return nil, ignoreMissing(err)
	}
	var found []string
	for _, entry := range entries {
		digest := "sha256:" + entry.Name()
		link := t.path(append(parts, "sha256", entry.Name(), "link")...)
		if _, err := os.Stat(link); err == nil && digests.MatchString(digest) {
			found = append(found, digest)
		}
	}
	return found, nil
}

func (t tree) revisions(repository string) ([]string, error) {
	return t.links(repository, "_manifests", "revisions")
}

func (t tree) layers(repository string) ([]string, error) { return t.links(repository, "_layers") }

// tags returns what each tag of a repository names.
func (t tree) tags(repository string) (map[string][]string, error) {
	folder := t.path("repositories", repository, "_manifests", "tags")
	entries, err := os.ReadDir(folder)
	if err != nil {
		return nil, ignoreMissing(err)
	}
	found := map[string][]string{}
	for _, entry := range entries {
		content, err := os.ReadFile(filepath.Join(folder, entry.Name(), "current", "link"))
		if err == nil {
			digest := strings.TrimSpace(string(content))
			found[digest] = append(found[digest], entry.Name())
		}
	}
	return found, nil
}

// removeEmpty removes folders of repositories that have been empty for as long as grace.
func (t tree) removeEmpty(grace time.Duration) error {
	var old []string
	now := time.Now()
	root := t.path("repositories")
	err := walk(root, func(path string, entry fs.DirEntry) error {
		if !entry.IsDir() || path == root {
			return nil
		}
		found, err := entry.Info()
		if err == nil && age(found, now) >= grace {
			old = append(old, path)
		}
		return ignoreMissing(err)
	})
	for _, path := range slices.Backward(old) {
		_ = os.Remove(path) // one that holds anything stays
	}
	return err
}

type usage struct {
	Capacity int64 `json:"capacityBytes"`
	Free     int64 `json:"freeBytes"`
	Used     int64 `json:"usedBytes"`
}

// use says how much the registry holds, and how much room its disk has for it.
func (t tree) use() (usage, error) {
	var disk syscall.Statfs_t
	if err := syscall.Statfs(t.root, &disk); err != nil {
		return usage{}, err
	}
	u := usage{Capacity: int64(disk.Blocks) * disk.Bsize, Free: int64(disk.Bavail) * disk.Bsize}
	err := walk(t.path(), func(_ string, entry fs.DirEntry) error {
		if !entry.Type().IsRegular() {
			return nil
		}
		found, err := entry.Info()
		if err != nil {
			return ignoreMissing(err)
		}
		u.Used += found.Size()
		return nil
	})
	return u, err
}

// walk goes through a folder that changes meanwhile: what went is not missed.
func walk(root string, visit func(path string, entry fs.DirEntry) error) error {
	return filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return ignoreMissing(err)
		}
		return visit(path, entry)
	})
}

func ignoreMissing(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

func age(found fs.FileInfo, now time.Time) time.Duration { return now.Sub(found.ModTime()) }
