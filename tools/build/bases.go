package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
)

const askForBase = 10 * time.Second

// leaveOutBases keeps the layers of base images out of the layer cache: the registry has them, and
// copying them took longer than most builds. Where BuildKit would write such a layer it finds a file
// already, which names the repository that has the layer; the push step has the registry link it.
// What cannot be found out is written, as without this.
func (o *buildOptions) leaveOutBases(ctx context.Context, dockerfile string) error {
	blobs := filepath.Join(o.output, "cache", "blobs", "sha256")
	if err := os.MkdirAll(blobs, 0o755); err != nil {
		return err
	}
	for _, base := range basesOf(dockerfile) {
		repository, layers := o.layersOf(ctx, base)
		for _, digest := range layers {
			path := filepath.Join(blobs, digest.Hex)
			if err := os.WriteFile(path, []byte(repository), 0o644); err != nil {
				return err
			}
		}
		if len(layers) > 0 {
			fmt.Printf("the layer cache links what it has of %s: %d layers\n", repository, len(layers))
		}
	}
	return nil
}

// basesOf lists what stages begin from: images, names of stages and texts with variables.
func basesOf(dockerfile string) []string {
	parsed, err := parser.Parse(strings.NewReader(dockerfile))
	if err != nil {
		return nil // BuildKit says it better
	}
	stages, _, err := instructions.Parse(parsed.AST, nil)
	if err != nil {
		return nil
	}
	var found []string
	for _, stage := range stages {
		found = append(found, stage.BaseName)
	}
	slices.Sort(found)
	return slices.Compact(found)
}

func (o *buildOptions) layersOf(ctx context.Context, base string) (string, []v1.Hash) {
	asked, err := name.ParseReference(base)
	if err != nil || !o.isMirrored(asked.Context()) {
		return "", nil
	}
	repository := asked.Context().RepositoryStr()
	if !strings.HasPrefix(repository, baseImages) {
		return "", nil
	}
	registry, err := name.NewRegistry(o.registry, name.Insecure)
	if err != nil {
		return "", nil
	}
	var here name.Reference = registry.Repo(repository).Tag(asked.Identifier())
	if _, isDigest := asked.(name.Digest); isDigest {
		here = registry.Repo(repository).Digest(asked.Identifier())
	}
	ctx, cancel := context.WithTimeout(ctx, askForBase)
	defer cancel()
	options := []remote.Option{
		remote.WithContext(ctx), remote.WithPlatform(v1.Platform{OS: "linux", Architecture: runtime.GOARCH}),
	}
	if token, err := os.ReadFile(o.token); err == nil {
		options = append(options, remote.WithAuth(&authn.Bearer{Token: strings.TrimSpace(string(token))}))
	}
	found, err := remote.Image(here, options...)
	if err != nil {
		return "", nil
	}
	manifest, err := found.Manifest()
	if err != nil {
		return "", nil
	}
	var layers []v1.Hash
	for _, layer := range manifest.Layers {
		layers = append(layers, layer.Digest)
	}
	return repository, layers
}

func (o *buildOptions) isMirrored(repository name.Repository) bool {
	host := repository.RegistryStr()
	if host == name.DefaultRegistry {
		host = "docker.io"
	}
	return slices.Contains(strings.Split(o.mirrored, ","), host)
}
