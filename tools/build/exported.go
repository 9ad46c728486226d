package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/pelletier/go-toml/v2"
)

const (
	inToto       types.MediaType = "application/vnd.in-toto+json"
	provenanceIs                 = "https://slsa.dev/provenance/v1"
	buildTypeIs                  = "https://bex.co/builds/buildpack/v1"
)

// exported is an image that the lifecycle pushed. It gets its labels, and statements about it
// beside it, laid out as BuildKit does. Source: BuildKit's docs/attestations/attestation-storage.md.
type exported struct {
	report, contents, builder string
	labels                    pairs
}

type statement struct {
	Type          string          `json:"_type"`
	PredicateType string          `json:"predicateType"`
	Subject       []subject       `json:"subject"`
	Predicate     json.RawMessage `json:"predicate"`
}

type subject struct {
	Name   string            `json:"name"`
	Digest map[string]string `json:"digest"`
}

func (e *exported) send(s *sender, to string) (v1.Hash, error) {
	var naming []name.Option
	if s.insecure {
		naming = append(naming, name.Insecure)
	}
	reference, err := name.ParseReference(to, append(naming, name.StrictValidation)...)
	if err != nil {
		return v1.Hash{}, err
	}
	digest, err := e.digest()
	if err != nil {
		return v1.Hash{}, err
	}
	// By digest: whoever moved the tag meanwhile moved something else.
	found, err := remote.Image(reference.Context().Digest(digest), s.options...)
	if err != nil {
		return v1.Hash{}, err
	}
	labelled, err := e.labelled(found)
	if err != nil {
		return v1.Hash{}, err
	}
	index, err := e.indexed(labelled, reference.Context().Name())
	if err != nil {
		return v1.Hash{}, err
	}
	if err := remote.WriteIndex(reference, index, s.options...); err != nil {
		return v1.Hash{}, err
	}
	return index.Digest()
}

// digest reads what the exporter says that it pushed.
func (e *exported) digest() (string, error) {
	content, err := os.ReadFile(e.report)
	if err != nil {
		return "", err
	}
	var read struct {
		Image struct {
			Digest string `toml:"digest"`
		} `toml:"image"`
	}
	if err := toml.Unmarshal(content, &read); err != nil {
		return "", err
	}
	if !strings.HasPrefix(read.Image.Digest, "sha256:") {
		return "", fmt.Errorf("%s names no digest", e.report)
	}
	return read.Image.Digest, nil
}

func (e *exported) labelled(image v1.Image) (v1.Image, error) {
	file, err := image.ConfigFile()
	if err != nil {
		return nil, err
	}
	config := file.DeepCopy().Config
	if config.Labels == nil {
		config.Labels = map[string]string{}
	}
	for key, value := range e.labels {
		config.Labels[key] = value
	}
	made, err := mutate.Config(image, config)
	if err != nil {
		return nil, err
	}
	return mutate.MediaType(made, types.OCIManifestSchema1), nil
}

func (e *exported) indexed(image v1.Image, title string) (v1.ImageIndex, error) {
	digest, err := image.Digest()
	if err != nil {
		return nil, err
	}
	file, err := image.ConfigFile()
	if err != nil {
		return nil, err
	}
	about := []subject{{title, map[string]string{digest.Algorithm: digest.Hex}}}
	statements, err := e.statements(about)
	if err != nil {
		return nil, err
	}
	attested, err := attestation(statements)
	if err != nil {
		return nil, err
	}
	return mutate.IndexMediaType(mutate.AppendManifests(empty.Index,
		mutate.IndexAddendum{Add: image, Descriptor: v1.Descriptor{Platform: &v1.Platform{
			Architecture: file.Architecture, OS: file.OS, Variant: file.Variant,
		}}},
		mutate.IndexAddendum{Add: attested, Descriptor: v1.Descriptor{
			Platform: &v1.Platform{Architecture: "unknown", OS: "unknown"},
			Annotations: map[string]string{
				"vnd.docker.reference.digest": digest.String(),
				"vnd.docker.reference.type":   "attestation-manifest",
			},
		}},
	), types.OCIImageIndex), nil
}

func (e *exported) statements(about []subject) ([]statement, error) {
	predicate, err := json.Marshal(map[string]any{
		"buildDefinition": map[string]any{
			"buildType": buildTypeIs,
			"externalParameters": map[string]string{
				"repository": e.labels["org.opencontainers.image.source"],
				"commit":     e.labels["org.opencontainers.image.revision"],
			},
			"resolvedDependencies": []map[string]any{{"uri": e.builder}},
		},
		"runDetails": map[string]any{"builder": map[string]string{"id": e.builder}},
	})
	if err != nil {
		return nil, err
	}
	kind := "https://in-toto.io/Statement/v0.1"
	made := []statement{{kind, provenanceIs, about, predicate}}
	files, err := filepath.Glob(filepath.Join(e.contents, "*.json"))
	if err != nil {
		return nil, err
	}
	for _, each := range files {
		content, err := os.ReadFile(each)
		if err != nil {
			return nil, err
		}
		var read statement
		if err := json.Unmarshal(content, &read); err != nil {
			return nil, fmt.Errorf("%s: %w", each, err)
		}
		read.Subject = about
		made = append(made, read)
	}
	return made, nil
}

func attestation(statements []statement) (v1.Image, error) {
	made := mutate.MediaType(empty.Image, types.OCIManifestSchema1)
	made = mutate.ConfigMediaType(made, types.OCIConfigJSON)
	for _, each := range statements {
		content, err := json.Marshal(each)
		if err != nil {
			return nil, err
		}
		made, err = mutate.Append(made, mutate.Addendum{
			Layer:       static.NewLayer(content, inToto),
			MediaType:   inToto,
			Annotations: map[string]string{"in-toto.io/predicate-type": each.PredicateType},
		})
		if err != nil {
			return nil, err
		}
	}
	return made, nil
}
