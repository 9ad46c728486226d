package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"net/http"
	"os"
	"regexp"
	"strings"
	"sync"
	"time"
)

// maxManifest is what distribution takes at most.
const maxManifest = 4 << 20

var (
	digests      = regexp.MustCompile(`sha256:[a-f0-9]{64}`)
	onBlob       = regexp.MustCompile(`^/v2/.+/blobs/(sha256:[a-f0-9]{64})$`)
	onUpload     = regexp.MustCompile(`^/v2/.+/blobs/uploads/`)
	onManifest   = regexp.MustCompile(`^/v2/.+/manifests/([^/]+)$`)
	contentField = http.CanonicalHeaderKey("Docker-Content-Digest")
)

// guard keeps content that somebody is about to rely on from being collected. Whoever pushes asks
// first what is there, and sends only the rest: what they were told is there becomes young again,
// and nothing young is collected. Between the answer and that, it is held.
type guard struct {
	tree     tree
	mutex    sync.Mutex
	changed  *sync.Cond
	held     map[string]int
	removing map[string]bool
}

func newGuard(tree tree) *guard {
	g := &guard{tree: tree, held: map[string]int{}, removing: map[string]bool{}}
	g.changed = sync.NewCond(&g.mutex)
	return g
}

// around lets requests through, and holds what they rely on meanwhile.
func (g *guard) around(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		wanted, err := g.reliedOn(r)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		g.hold(wanted)
		defer g.release(wanted)
		if r.Method == http.MethodHead && onManifest.MatchString(r.URL.Path) {
			defer func() { g.renew(mentioned(g.tree, w.Header().Get(contentField))) }()
		}
		next.ServeHTTP(w, r)
	})
}

func (g *guard) reliedOn(r *http.Request) ([]string, error) {
	path := r.URL.Path
	switch {
	case r.Method == http.MethodHead && onBlob.MatchString(path):
		return onBlob.FindStringSubmatch(path)[1:], nil
	case r.Method == http.MethodHead && onManifest.MatchString(path):
		return mentioned(g.tree, onManifest.FindStringSubmatch(path)[1]), nil
	case r.Method == http.MethodPost && onUpload.MatchString(path+"/"),
		r.Method == http.MethodPut && onUpload.MatchString(path):
		query := r.URL.Query()
		return digests.FindAllString(query.Get("digest")+" "+query.Get("mount"), -1), nil
	case r.Method == http.MethodPut && onManifest.MatchString(path):
		content, err := io.ReadAll(io.LimitReader(r.Body, maxManifest+1))
		if err != nil {
			return nil, err
		}
		// One that is too long is refused where the rest of it is read.
		rest := io.MultiReader(bytes.NewReader(content), r.Body)
		r.Body = struct {
			io.Reader
			io.Closer
		}{rest, r.Body}
		own := sha256.Sum256(content)
		return append(digests.FindAllString(string(content), -1),
			"sha256:"+hex.EncodeToString(own[:])), nil
	}
	return nil, nil
}

func (g *guard) hold(wanted []string) {
	if len(wanted) == 0 {
		return
	}
	g.mutex.Lock()
	defer g.mutex.Unlock()
	for g.isRemovingAny(wanted) {
		g.changed.Wait()
	}
	for _, each := range wanted {
		g.held[each]++
	}
}

func (g *guard) isRemovingAny(wanted []string) bool {
	for _, each := range wanted {
		if g.removing[each] {
			return true
		}
	}
	return false
}

func (g *guard) release(wanted []string) {
	if len(wanted) == 0 {
		return
	}
	g.renew(wanted)
	g.mutex.Lock()
	defer g.mutex.Unlock()
	for _, each := range wanted {
		if g.held[each]--; g.held[each] == 0 {
			delete(g.held, each)
		}
	}
}

// renew makes content young; what is not there stays away.
func (g *guard) renew(wanted []string) {
	now := time.Now()
	for _, each := range wanted {
		_ = os.Chtimes(g.tree.blob(each), now, now)
	}
}

// remove calls remove while nobody relies on digest; it reports whether it did.
func (g *guard) remove(digest string, remove func() (bool, error)) (bool, error) {
	g.mutex.Lock()
	if g.held[digest] > 0 {
		g.mutex.Unlock()
		return false, nil
	}
	g.removing[digest] = true
	g.mutex.Unlock()
	defer func() {
		g.mutex.Lock()
		delete(g.removing, digest)
		g.mutex.Unlock()
		g.changed.Broadcast()
	}()
	return remove()
}

// mentioned returns a manifest that is there, and everything its text names.
func mentioned(tree tree, digest string) []string {
	if !strings.HasPrefix(digest, "sha256:") || !digests.MatchString(digest) {
		return nil
	}
	content, err := tree.readManifest(digest)
	if err != nil {
		return []string{digest}
	}
	return append(digests.FindAllString(string(content), -1), digest)
}
