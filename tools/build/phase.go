package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// theirs are exit codes of the lifecycle that say: the repository has to change. No buildpack wants
// it, or one that does failed. Source: lifecycle's platform/exit.go.
var theirs = []int{20, 21, 51}

type phaseOptions struct {
	program, copyFrom, copyTo string
	plan, registry, token     string
}

// phase runs one program in an image that is not ours: with the credential that this one needs in
// its environment, and nothing else that its container does not have anyway.
func phase(ctx context.Context, flags *flag.FlagSet, args []string, told *outcome) error {
	var o phaseOptions
	flags.StringVar(&told.Step, "step", told.Step, "what this step is called")
	flags.StringVar(&o.program, "run", "", "the program; what follows `--` are its arguments")
	flags.StringVar(&o.copyFrom, "copy-from", "", "folder whose files the program changes")
	flags.StringVar(&o.copyTo, "copy-to", "", "where it finds them")
	flags.StringVar(&o.plan, "plan", "/plan/plan.json", "what the resolve step wrote")
	flags.StringVar(&o.registry, "registry", "", "HOST:PORT of the platform's registry")
	flags.StringVar(&o.token, "token", "", "file with a token for it")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if o.copyFrom != "" {
		if err := o.copy(); err != nil {
			return err
		}
	}
	environment, err := o.environment()
	if err != nil {
		return err
	}
	return o.execute(ctx, flags.Args(), environment)
}

// copy makes the files belong to whom the builder's image runs as. Links stay links.
func (o *phaseOptions) copy() error {
	made, err := readPlan(o.plan)
	if err != nil {
		return err
	}
	root, err := os.OpenRoot(o.copyFrom)
	if err != nil {
		return err
	}
	defer root.Close()
	folder, err := root.OpenRoot(made.Context)
	if err != nil {
		return faultf("spec.rootDir: %s", err)
	}
	defer folder.Close()
	return os.CopyFS(o.copyTo, folder.FS())
}

func (o *phaseOptions) environment() ([]string, error) {
	made := os.Environ()
	if o.registry == "" {
		return made, nil
	}
	made = append(made, "CNB_INSECURE_REGISTRIES="+o.registry)
	token, err := os.ReadFile(o.token)
	if err != nil {
		return nil, err
	}
	header := map[string]string{o.registry: "Bearer " + strings.TrimSpace(string(token))}
	text, err := json.Marshal(header)
	if err != nil {
		return nil, err
	}
	return append(made, "CNB_REGISTRY_AUTH="+string(text)), nil
}

func (o *phaseOptions) execute(ctx context.Context, args, environment []string) error {
	said := &lastBytes{}
	command := exec.CommandContext(ctx, o.program, args...)
	command.Env = environment
	// One writer for both: the order of lines stays as it was.
	command.Stdout = io.MultiWriter(os.Stdout, said)
	command.Stderr = command.Stdout
	err := command.Run()
	var ended *exec.ExitError
	if !errors.As(err, &ended) {
		return err
	}
	text := fmt.Sprintf("%s\n%s ended with %d", tail(said.kept.String(), shownLines),
		filepath.Base(o.program), ended.ExitCode())
	if slices.Contains(theirs, ended.ExitCode()) {
		return fault{text}
	}
	return errors.New(text)
}

// lastBytes keeps the end of what is written.
type lastBytes struct{ kept bytes.Buffer }

func (l *lastBytes) Write(text []byte) (int, error) {
	l.kept.Write(text)
	if over := l.kept.Len() - keptLogBytes; over > 0 {
		l.kept.Next(over)
	}
	return len(text), nil
}
