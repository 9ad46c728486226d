// Command bex-scan lists the packages in an image: BuildKit runs it at the end of a build and keeps
// what it writes beside the image.
//
// Source: BuildKit's docs/attestations/sbom-protocol.md; SPDX 2.3; in-toto Statement 0.1.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	configurations "github.com/google/osv-scalibr/binary/proto/config_go_proto"
	"github.com/google/osv-scalibr/converter/spdx"
	"github.com/google/osv-scalibr/extractor/filesystem"
	"github.com/google/osv-scalibr/extractor/filesystem/language/golang/gobinary"
	"github.com/google/osv-scalibr/extractor/filesystem/language/java/archive"
	"github.com/google/osv-scalibr/extractor/filesystem/language/javascript/packagejson"
	"github.com/google/osv-scalibr/extractor/filesystem/language/python/wheelegg"
	"github.com/google/osv-scalibr/extractor/filesystem/language/ruby/gemspec"
	"github.com/google/osv-scalibr/extractor/filesystem/language/rust/cargoauditable"
	"github.com/google/osv-scalibr/extractor/filesystem/os/apk"
	"github.com/google/osv-scalibr/extractor/filesystem/os/dpkg"
	scalibrfs "github.com/google/osv-scalibr/fs"
	"github.com/google/osv-scalibr/plugin"
	"github.com/google/osv-scalibr/stats"
	"github.com/google/uuid"
	"github.com/spdx/tools-golang/spdx/v2/common"
)

// maxFile is the most bytes of a file that is looked at.
const maxFile = 1 << 30

// installed is what is known to read what lies in an image as it was installed: a lock file of the
// sources says what was wanted, not what is there.
var installed = []func(*configurations.PluginConfig) (filesystem.Extractor, error){
	apk.New, dpkg.New, gobinary.New, wheelegg.New, packagejson.New, archive.New, gemspec.New,
	cargoauditable.New,
}

type statement struct {
	Type          string   `json:"_type"`
	PredicateType string   `json:"predicateType"`
	Subject       []string `json:"subject"`
	Predicate     any      `json:"predicate"`
}

func main() {
	if err := run(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, "bex-scan:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	into, source := os.Getenv("BUILDKIT_SCAN_DESTINATION"), os.Getenv("BUILDKIT_SCAN_SOURCE")
	if into == "" || source == "" {
		return errors.New("BUILDKIT_SCAN_DESTINATION and BUILDKIT_SCAN_SOURCE must be set")
	}
	sources := []string{source}
	if extras := os.Getenv("BUILDKIT_SCAN_SOURCE_EXTRAS"); extras != "" {
		// One that is not there names nothing to scan.
		found, _ := filepath.Glob(filepath.Join(extras, "*"))
		sources = append(sources, found...)
	}
	for _, each := range sources {
		if err := scan(ctx, each, into); err != nil {
			return fmt.Errorf("%s: %w", each, err)
		}
	}
	return nil
}

// scan writes what is in the folder root. What of it cannot be read is told and left out.
func scan(ctx context.Context, root, into string) error {
	extractors, err := makeExtractors()
	if err != nil {
		return err
	}
	found, told, err := filesystem.Run(ctx, &filesystem.Config{
		Extractors:  extractors,
		ScanRoots:   scalibrfs.RealFSScanRoots(root),
		MaxFileSize: maxFile,
		Stats:       stats.NoopCollector{},
	})
	if err != nil {
		return err
	}
	for _, each := range told {
		if each.Status.Status != plugin.ScanStatusSucceeded {
			fmt.Fprintf(os.Stderr, "%s: %s\n", each.Name, each.Status.FailureReason)
		}
	}
	name := filepath.Base(root)
	document := spdx.ToSPDX23(found, spdx.Config{
		DocumentName:      name,
		DocumentNamespace: "https://bex.co/spdx/" + uuid.NewString(),
		Creators:          []common.Creator{{CreatorType: "Tool", Creator: "bex-scan"}},
	})
	content, err := json.Marshal(statement{
		Type:          "https://in-toto.io/Statement/v0.1",
		PredicateType: "https://spdx.dev/Document",
		Subject:       []string{},
		Predicate:     document,
	})
	if err != nil {
		return err
	}
	fmt.Printf("%d packages\n", len(found.Packages))
	return os.WriteFile(filepath.Join(into, name+".spdx.json"), content, 0o644)
}

func makeExtractors() ([]filesystem.Extractor, error) {
	var made []filesystem.Extractor
	for _, each := range installed {
		extractor, err := each(&configurations.PluginConfig{})
		if err != nil {
			return nil, err
		}
		made = append(made, extractor)
	}
	return made, nil
}
