package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path"
	"sync"
	"time"

	"github.com/distribution/distribution/v3/registry/auth"
	"github.com/distribution/distribution/v3/registry/storage"
	"github.com/distribution/distribution/v3/registry/storage/driver"
	"github.com/opencontainers/go-digest"
)

const maxOrder = 64 << 20

// care is what the platform asks of its registry beside the distribution API: how full it is, what
// it holds, and to let go of images that the platform has no use for. Which ones those are is
// decided by whoever asks; that nothing is lost which somebody pushes meanwhile is seen to here.
type care struct {
	tree   tree
	guard  *guard
	ctx    context.Context
	files  driver.StorageDriver
	vacuum storage.Vacuum
	one    sync.Mutex
}

type manifest struct {
	Repository string   `json:"repository"`
	Digest     string   `json:"digest"`
	Tags       []string `json:"tags,omitempty"`
	// Mentions are the manifests of the same repository that this one names.
	Mentions []string `json:"mentions,omitempty"`
	Subject  string   `json:"subject,omitempty"`
	// Touched is when it was last pushed, or asked for by somebody who pushes.
	Touched time.Time `json:"touched"`
}

type order struct {
	Delete       []manifest `json:"delete"`
	GraceSeconds int        `json:"graceSeconds"`
	DryRun       bool       `json:"dryRun"`
}

func (o *order) grace() time.Duration { return time.Duration(o.GraceSeconds) * time.Second }

type report struct {
	Manifests int   `json:"manifests"`
	Blobs     int   `json:"blobs"`
	Freed     int64 `json:"freedBytes"`
	usage
}

func newCare(ctx context.Context, root string, files driver.StorageDriver) *care {
	t := tree{root}
	return &care{
		tree: t, guard: newGuard(t), ctx: ctx, files: files, vacuum: storage.NewVacuum(ctx, files),
	}
}

// handler serves care to whoever allowed lets in; nil lets everybody in.
func (c *care) handler(allowed *tokens) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /bex/usage", answer(func(*http.Request) (any, error) { return c.tree.use() }))
	mux.HandleFunc("GET /bex/inventory", answer(func(*http.Request) (any, error) {
		return c.inventory()
	}))
	mux.HandleFunc("POST /bex/collect", answer(func(r *http.Request) (any, error) {
		var o order
		content := http.MaxBytesReader(nil, r.Body, maxOrder)
		if err := json.NewDecoder(content).Decode(&o); err != nil {
			return nil, badRequest{err}
		}
		return c.collect(&o)
	}))
	if allowed == nil {
		return mux
	}
	wanted := auth.Access{Resource: auth.Resource{Type: "registry", Name: "care"}, Action: "*"}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, err := allowed.Authorized(r, wanted); err != nil {
			http.Error(w, err.Error(), http.StatusUnauthorized)
			return
		}
		mux.ServeHTTP(w, r)
	})
}

type badRequest struct{ error }

func answer(ask func(*http.Request) (any, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		made, err := ask(r)
		var bad badRequest
		switch {
		case errors.As(err, &bad):
			http.Error(w, err.Error(), http.StatusBadRequest)
		case err != nil:
			http.Error(w, err.Error(), http.StatusInternalServerError)
		default:
			w.Header().Set("Content-Type", "application/json")
			w.Header().Set("Cache-Control", "no-store")
			_ = json.NewEncoder(w).Encode(made)
		}
	}
}

func (c *care) inventory() ([]manifest, error) {
	names, err := c.tree.repositories()
	if err != nil {
		return nil, err
	}
	all := []manifest{}
	for _, name := range names {
		found, err := c.manifests(name)
		if err != nil {
			return nil, err
		}
		all = append(all, found...)
	}
	return all, nil
}

func (c *care) manifests(repository string) ([]manifest, error) {
	revisions, err := c.tree.revisions(repository)
	if err != nil {
		return nil, err
	}
	tags, err := c.tree.tags(repository)
	if err != nil {
		return nil, err
	}
	known := map[string]bool{}
	for _, each := range revisions {
		known[each] = true
	}
	var all []manifest
	for _, each := range revisions {
		made := manifest{Repository: repository, Digest: each, Tags: tags[each]}
		if facts, err := os.Stat(c.tree.blob(each)); err == nil {
			made.Touched = facts.ModTime()
		}
		content, err := c.tree.readManifest(each)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		var body struct {
			Subject struct {
				Digest string `json:"digest"`
			} `json:"subject"`
		}
		_ = json.Unmarshal(content, &body)
		made.Subject = body.Subject.Digest
		for _, named := range digests.FindAllString(string(content), -1) {
			if known[named] && named != each && named != made.Subject {
				made.Mentions = append(made.Mentions, named)
			}
		}
		all = append(all, made)
	}
	return all, nil
}

// collect deletes the manifests that it is told to, unless they were touched since they were
// listed, and then all blobs that no manifest names and nobody has asked for lately.
func (c *care) collect(o *order) (*report, error) {
	if !c.one.TryLock() {
		return nil, badRequest{errors.New("another collection is under way")}
	}
	defer c.one.Unlock()
	made := &report{}
	gone := map[string]bool{}
	for _, each := range o.Delete {
		if !digests.MatchString(each.Digest) || path.Clean("/"+each.Repository) != "/"+each.Repository {
			return nil, badRequest{fmt.Errorf("%q of %q is no manifest", each.Digest, each.Repository)}
		}
		removed, err := c.deleteManifest(&each, o.DryRun)
		if err != nil {
			return nil, err
		}
		if removed {
			made.Manifests++
			gone[each.Repository+"@"+each.Digest] = true
		}
	}
	marked, err := c.mark(gone)
	if err != nil {
		return nil, err
	}
	if err := c.sweep(marked, o, made); err != nil {
		return nil, err
	}
	if !o.DryRun {
		// Those that were broken off; a disk that is full makes many.
		storage.PurgeUploads(c.ctx, c.files, time.Now().Add(-o.grace()), true)
		if err := c.forgetLinks(); err != nil {
			return nil, err
		}
		if err := c.tree.removeEmpty(o.grace()); err != nil {
			return nil, err
		}
	}
	made.usage, err = c.tree.use()
	return made, err
}

func (c *care) deleteManifest(given *manifest, dryRun bool) (bool, error) {
	return c.guard.remove(given.Digest, func() (bool, error) {
		facts, err := os.Stat(c.tree.blob(given.Digest))
		if err == nil && facts.ModTime().After(given.Touched) {
			return false, nil
		}
		tags, err := c.tree.tags(given.Repository)
		if err != nil || dryRun {
			return err == nil, err
		}
		folder := c.tree.path("repositories", given.Repository, "_manifests")
		for _, tag := range tags[given.Digest] {
			if err := os.RemoveAll(path.Join(folder, "tags", tag)); err != nil {
				return false, err
			}
		}
		var others []string
		for digest, names := range tags {
			if digest != given.Digest {
				others = append(others, names...)
			}
		}
		err = c.vacuum.RemoveManifest(given.Repository, digest.Digest(given.Digest), others)
		if errors.As(err, &driver.PathNotFoundError{}) {
			return false, nil
		}
		return err == nil, err
	})
}

// mark returns everything that the text of a manifest names, in whatever part of it. Manifests that
// are pushed meanwhile make what they name young.
func (c *care) mark(gone map[string]bool) (map[string]bool, error) {
	names, err := c.tree.repositories()
	if err != nil {
		return nil, err
	}
	marked := map[string]bool{}
	for _, name := range names {
		revisions, err := c.tree.revisions(name)
		if err != nil {
			return nil, err
		}
		for _, each := range revisions {
			if gone[name+"@"+each] {
				continue
			}
			marked[each] = true
			content, err := c.tree.readManifest(each)
			if err != nil && !errors.Is(err, fs.ErrNotExist) {
				return nil, err
			}
			for _, named := range digests.FindAllString(string(content), -1) {
				marked[named] = true
			}
		}
	}
	return marked, nil
}

func (c *care) sweep(marked map[string]bool, o *order, made *report) error {
	grace, now := o.grace(), time.Now()
	return c.tree.blobs(func(name string, found fs.FileInfo) error {
		if marked[name] || age(found, now) < grace {
			return nil
		}
		removed, err := c.guard.remove(name, func() (bool, error) {
			current, err := os.Stat(c.tree.blob(name))
			if err != nil || age(current, now) < grace {
				return false, ignoreMissing(err)
			}
			if o.DryRun {
				return true, nil
			}
			return true, c.vacuum.RemoveBlob(name)
		})
		if removed && err == nil {
			made.Blobs++
			made.Freed += found.Size()
		}
		return err
	})
}

// forgetLinks removes links of repositories to layers that are gone.
func (c *care) forgetLinks() error {
	names, err := c.tree.repositories()
	if err != nil {
		return err
	}
	for _, name := range names {
		layers, err := c.tree.layers(name)
		if err != nil {
			return err
		}
		for _, each := range layers {
			_, err := c.guard.remove(each, func() (bool, error) {
				if _, err := os.Stat(c.tree.blob(each)); !errors.Is(err, fs.ErrNotExist) {
					return false, err
				}
				return true, c.vacuum.RemoveLayer(name, digest.Digest(each))
			})
			if err != nil {
				return err
			}
		}
	}
	return nil
}
