package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"

	"github.com/moby/buildkit/frontend/dockerfile/parser"
)

const maxDockerfile = 1 << 20

// plan is what the resolve step hands to the build step.
type plan struct {
	Strategy string `json:"strategy"`
	Context  string `json:"context"`
	// Dockerfile is the text itself: nobody can change it between the two steps.
	Dockerfile string `json:"dockerfile"`
}

type resolveOptions struct {
	source, into, root, dockerfile, dockerContext, builder, program string
}

// resolve finds out how the repository is built and writes it down. It reads files only.
func resolve(_ context.Context, flags *flag.FlagSet, args []string, told *outcome) error {
	var o resolveOptions
	flags.StringVar(&o.source, "source", "/source", "folder with the files of the repository")
	flags.StringVar(&o.into, "into", "/plan/plan.json", "file for the plan")
	flags.StringVar(&o.root, "root-dir", ".", "folder of the repository that holds the App")
	flags.StringVar(&o.dockerfile, "dockerfile", "Dockerfile", "relative to the root folder")
	flags.StringVar(&o.dockerContext, "context", ".", "relative to the root of the repository")
	flags.StringVar(&o.builder, "builder", "auto", "auto, dockerfile, native or buildpack")
	flags.StringVar(&o.program, "program-to", "", "where the steps in a builder's image find this program")
	if err := flags.Parse(args); err != nil {
		return err
	}
	root, err := os.OpenRoot(o.source)
	if err != nil {
		return err
	}
	defer root.Close()
	made, err := o.plan(root)
	if err != nil {
		return err
	}
	told.Strategy = made.Strategy
	if o.program != "" {
		if err := copyProgram(o.program); err != nil {
			return err
		}
	}
	fmt.Printf("strategy %s, context %s\n%s\n", made.Strategy, made.Context, made.Dockerfile)
	content, err := json.Marshal(made)
	if err != nil {
		return err
	}
	return os.WriteFile(o.into, content, 0o644)
}

func readPlan(name string) (*plan, error) {
	content, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	var made plan
	return &made, json.Unmarshal(content, &made)
}

func (o *resolveOptions) plan(root *os.Root) (*plan, error) {
	for field, folder := range map[string]string{
		"spec.rootDir": o.root, "spec.dockerContext": o.dockerContext,
	} {
		found, err := root.Stat(folder)
		if err != nil || !found.IsDir() {
			return nil, faultf("%s: the repository has no folder %.200q", field, folder)
		}
	}
	if o.builder == "buildpack" {
		return &plan{Strategy: "buildpack", Context: path.Clean(o.root)}, nil
	}
	content, err := readBelow(root, path.Join(o.root, o.dockerfile))
	switch {
	case err == nil && o.builder != "native":
		return o.withDockerfile(content)
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return nil, faultf("spec.dockerfilePath: %s", err)
	case o.builder == "dockerfile":
		return nil, faultf("spec.dockerfilePath: the repository has no file %.200q",
			path.Join(o.root, o.dockerfile))
	}
	return o.generated(root)
}

// copyProgram lets steps that run in somebody else's image be this program, too.
func copyProgram(into string) error {
	program, err := os.Executable()
	if err != nil {
		return err
	}
	from, err := os.Open(program)
	if err != nil {
		return err
	}
	defer from.Close()
	to, err := os.OpenFile(into, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o755)
	if err != nil {
		return err
	}
	_, err = io.Copy(to, from)
	return errors.Join(err, to.Close())
}

// withDockerfile refuses foreign frontends: they are programs that would take the place of
// BuildKit's own reading of the file. Those that BuildKit has built in are taken from there.
func (o *resolveOptions) withDockerfile(content []byte) (*plan, error) {
	reference, _, _, found := parser.DetectSyntax(content)
	repository, _, _ := strings.Cut(strings.TrimPrefix(reference, "docker.io/"), ":")
	if found && repository != "docker/dockerfile" {
		return nil, faultf("Dockerfile: `syntax=%.200s` names a foreign frontend; only "+
			"docker/dockerfile may be named", reference)
	}
	return &plan{
		Strategy: "dockerfile", Context: path.Clean(o.dockerContext), Dockerfile: string(content),
	}, nil
}

func (o *resolveOptions) generated(root *os.Root) (*plan, error) {
	for _, language := range languages {
		if has(root, o.root, language.marks...) {
			text, err := language.write(root, o.root)
			if err != nil {
				return nil, err
			}
			return &plan{Strategy: language.name, Context: path.Clean(o.root), Dockerfile: text}, nil
		}
	}
	return nil, faultf("spec.builder: %.200q has no Dockerfile, and no go.mod, package.json, "+
		"requirements.txt or pyproject.toml tells how it is built", path.Join(o.root))
}

func has(root *os.Root, folder string, names ...string) bool {
	for _, name := range names {
		if found, err := root.Stat(path.Join(folder, name)); err == nil && !found.IsDir() {
			return true
		}
	}
	return false
}

func readBelow(root *os.Root, name string) ([]byte, error) {
	found, err := root.Stat(name)
	if err != nil {
		return nil, err
	}
	if !found.Mode().IsRegular() || found.Size() > maxDockerfile {
		return nil, fmt.Errorf("%.200q is no file of at most %d bytes", name, maxDockerfile)
	}
	return root.ReadFile(name)
}
