package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
)

const (
	attempts = 4
	// Where base images lie in the registry, and how long the name of one may be.
	baseImages  = "library/"
	longestName = 255
)

// push sends what the build step left to the registry, and its cache beside it. It reads what
// tenants' code made but runs none of it.
func push(ctx context.Context, flags *flag.FlagSet, args []string, told *outcome) error {
	image := flags.String("image", "", "where to push, like registry:5000/builds/app:tag")
	from := flags.String("from", "/output/image", "OCI layout of the image")
	cacheFrom := flags.String("cache-from", "/output/cache", "OCI layout of the layer cache")
	cacheTo := flags.String("cache-to", "", "where to push the layer cache")
	token := flags.String("token", "", "file with a registry token")
	made := exported{labels: pairs{}}
	flags.StringVar(&made.report, "report", "", "what the lifecycle says that it pushed")
	flags.StringVar(&made.contents, "contents", "", "folder with lists of what is in it")
	flags.StringVar(&made.builder, "builder", "", "image that it was built in")
	flags.Var(made.labels, "label", "KEY=VALUE for that image; repeat it for more")
	insecure := flags.Bool("insecure", false, "speak plain http")
	if err := flags.Parse(args); err != nil {
		return err
	}
	sender := &sender{insecure: *insecure, options: []remote.Option{remote.WithContext(ctx)}}
	if *token != "" {
		content, err := os.ReadFile(*token)
		if err != nil {
			return err
		}
		bearer := &authn.Bearer{Token: strings.TrimSpace(string(content))}
		sender.options = append(sender.options, remote.WithAuth(bearer))
	}
	send := func() (v1.Hash, error) { return sender.send(ctx, *from, *image) }
	if made.report != "" {
		send = func() (v1.Hash, error) { return made.send(sender, *image) }
	}
	digest, err := send()
	if err != nil {
		return fmt.Errorf("the image could not be pushed: %w", err)
	}
	told.Digest = digest.String()
	fmt.Printf("pushed %s@%s\n", *image, digest)
	if *cacheTo == "" {
		return nil
	}
	// A cache that cannot be kept makes the next build slower, not this one wrong.
	if _, err := sender.send(ctx, *cacheFrom, *cacheTo); err != nil {
		fmt.Printf("the layer cache was not kept: %s\n", err)
	}
	return nil
}

type sender struct {
	insecure bool
	options  []remote.Option
}

func (s *sender) send(ctx context.Context, from, to string) (v1.Hash, error) {
	var naming []name.Option
	if s.insecure {
		naming = append(naming, name.Insecure)
	}
	reference, err := name.ParseReference(to, append(naming, name.StrictValidation)...)
	if err != nil {
		return v1.Hash{}, err
	}
	index, err := layout.ImageIndexFromPath(from)
	if err != nil {
		return v1.Hash{}, err
	}
	manifest, err := index.IndexManifest()
	if err != nil {
		return v1.Hash{}, err
	}
	if len(manifest.Manifests) != 1 {
		return v1.Hash{}, fmt.Errorf("%s holds %d images, not one", from, len(manifest.Manifests))
	}
	only := manifest.Manifests[0]
	for attempt := 1; ; attempt++ {
		err = s.write(reference, index, only, from)
		if err == nil {
			return only.Digest, nil
		}
		if attempt == attempts || !isTransient(err) {
			return v1.Hash{}, err
		}
		fmt.Printf("attempt %d of %d: %s\n", attempt, attempts, err)
		select {
		case <-ctx.Done():
			return v1.Hash{}, ctx.Err()
		case <-time.After(time.Duration(attempt) * time.Second):
		}
	}
}

// write pushes by digest and only then moves the tag: whoever reads the tag finds a whole image.
func (s *sender) write(
	to name.Reference, index v1.ImageIndex, only v1.Descriptor, folder string,
) error {
	if only.MediaType.IsIndex() {
		found, err := index.ImageIndex(only.Digest)
		if err != nil {
			return err
		}
		return remote.WriteIndex(to, found, s.options...)
	}
	found, err := index.Image(only.Digest)
	if err != nil {
		return err
	}
	return remote.Write(to, linked{found, folder, to.Context().Registry}, s.options...)
}

// linked is an image some of whose layers are in the registry already: see leaveOutBases.
type linked struct {
	v1.Image
	folder   string
	registry name.Registry
}

func (l linked) Layers() ([]v1.Layer, error) {
	layers, err := l.Image.Layers()
	if err != nil {
		return nil, err
	}
	for i, layer := range layers {
		digest, err := layer.Digest()
		if err != nil {
			return nil, err
		}
		if repository := l.elsewhere(digest); repository != "" {
			from := l.registry.Repo(repository).Digest(digest.String())
			layers[i] = &remote.MountableLayer{Layer: layer, Reference: from}
		}
	}
	return layers, nil
}

// elsewhere names the repository that has a layer, where its file says no more than that.
func (l linked) elsewhere(digest v1.Hash) string {
	path := filepath.Join(l.folder, "blobs", digest.Algorithm, digest.Hex)
	found, err := os.Stat(path)
	if err != nil || found.Size() > longestName {
		return ""
	}
	content, err := os.ReadFile(path)
	if err != nil || !strings.HasPrefix(string(content), baseImages) {
		return ""
	}
	if _, err := name.NewRepository(l.registry.Name() + "/" + string(content)); err != nil {
		return ""
	}
	return string(content)
}

func isTransient(err error) bool {
	var refused *transport.Error
	if errors.As(err, &refused) {
		return refused.StatusCode >= http.StatusInternalServerError ||
			refused.StatusCode == http.StatusTooManyRequests
	}
	return true
}
