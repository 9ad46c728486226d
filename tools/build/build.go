package main

import (
	"bytes"
	"context"
	"encoding/pem"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/docker/cli/cli/config/types"
	"github.com/moby/buildkit/client"
	"github.com/moby/buildkit/session"
	"github.com/moby/buildkit/session/auth/authprovider"
	"github.com/moby/buildkit/util/progress/progressui"
	"github.com/tonistiigi/fsutil"
	"golang.org/x/crypto/x509roots/fallback/bundle"
	"golang.org/x/sync/errgroup"
)

const (
	daemonStart = 60 * time.Second
	daemonStop  = 10 * time.Second
	// Of layers that a build makes; those of its base stay as they are. It packs several times as fast
	// as gzip, which BuildKit takes otherwise, and smaller; every containerd since 1.5 unpacks it.
	compression = "zstd"
)

type buildOptions struct {
	source, plan, state, output string
	kept                        string
	mostMebibytes               uint64
	registry, token, cache      string
	mirrored, name, scanner     string
	labels                      pairs
	clear                       bool
}

type pairs map[string]string

func (p pairs) String() string { return fmt.Sprint(map[string]string(p)) }

func (p pairs) Set(value string) error {
	key, text, found := strings.Cut(value, "=")
	if !found || key == "" {
		return errors.New("must be KEY=VALUE")
	}
	p[key] = text
	return nil
}

// build runs a BuildKit daemon for this one build. Code of tenants runs in containers of that
// daemon, in the pod's user namespace, and ends with it.
func build(ctx context.Context, flags *flag.FlagSet, args []string, _ *outcome) error {
	o := buildOptions{labels: pairs{}}
	flags.StringVar(&o.source, "source", "/source", "folder with the files of the repository")
	flags.StringVar(&o.plan, "plan", "/plan/plan.json", "what the resolve step wrote")
	flags.StringVar(&o.state, "state", "/state", "folder of the daemon")
	flags.StringVar(&o.kept, "kept", "", "folder that is kept for the next build of the App")
	flags.Uint64Var(&o.mostMebibytes, "most-disk", 12<<10, "MiB of disk that BuildKit may take")
	flags.StringVar(&o.output, "output", "/output", "folder for the image and the cache")
	flags.StringVar(&o.registry, "registry", "", "HOST:PORT of the platform's registry")
	flags.StringVar(&o.mirrored, "mirrored", "", "registries to look up there first")
	flags.StringVar(&o.token, "token", "", "file with a token that may pull from it")
	flags.StringVar(&o.cache, "cache", "", "image with the layer cache")
	flags.BoolVar(&o.clear, "clear-cache", false, "use no layer of an earlier build")
	flags.StringVar(&o.name, "name", "", "what the image is called; its provenance speaks of it so")
	flags.StringVar(&o.scanner, "scanner", "", "image that lists what is in the built one")
	flags.Var(o.labels, "label", "KEY=VALUE for the image; repeat it for more")
	if err := flags.Parse(args); err != nil {
		return err
	}
	made, err := readPlan(o.plan)
	if err != nil {
		return err
	}
	if o.cache != "" && o.registry != "" {
		if err := o.leaveOutBases(ctx, made.Dockerfile); err != nil {
			return err
		}
	}
	k, err := open(o.kept, o.state, o.mostMebibytes<<20, o.clear)
	if err != nil {
		return err
	}
	daemon, err := o.startWith(ctx, k)
	if err != nil {
		return err
	}
	defer daemon.stop()
	bounded, end := k.bounded(ctx)
	defer end()
	err = o.solve(bounded, daemon, made)
	var theirs fault
	if errors.As(context.Cause(bounded), &theirs) {
		k.drop(daemon)
		return theirs
	}
	if err == nil || errors.As(err, &theirs) {
		k.keep(ctx, daemon)
	} else {
		k.drop(daemon)
	}
	return err
}

// startWith starts the daemon with what is kept of earlier builds, or, if it cannot, without.
func (o *buildOptions) startWith(ctx context.Context, k *kept) (*daemon, error) {
	started, err := o.start(ctx, k.root())
	if err == nil || ctx.Err() != nil || k.lock == nil {
		return started, err
	}
	fmt.Printf("begins anew, with nothing of earlier builds: %s\n", err)
	if err := k.forget(); err != nil {
		return nil, err
	}
	return o.start(ctx, k.root())
}

type daemon struct {
	process *exec.Cmd
	ended   chan struct{}
	err     error
	client  *client.Client
	log     *bytes.Buffer
}

func (o *buildOptions) configuration(root string) string {
	var text strings.Builder
	fmt.Fprintf(&text, `root = %q
[grpc]
  address = ["unix://%s"]
[worker.oci]
  enabled = true
  networkMode = "host"
  gc = false
[worker.containerd]
  enabled = false
[frontend."gateway.v0"]
  enabled = false
`, root, o.socket())
	if o.registry == "" {
		return text.String()
	}
	fmt.Fprintf(&text, "[registry.%q]\n  http = true\n", o.registry)
	for each := range strings.SplitSeq(o.mirrored, ",") {
		if each != "" {
			fmt.Fprintf(&text, "[registry.%q]\n  mirrors = [%q]\n", each, o.registry)
		}
	}
	return text.String()
}

func (o *buildOptions) socket() string { return filepath.Join(o.state, "buildkitd.sock") }

func (o *buildOptions) start(ctx context.Context, root string) (*daemon, error) {
	roots := filepath.Join(o.state, "authorities.pem")
	if err := writeAuthorities(roots); err != nil {
		return nil, err
	}
	config := filepath.Join(o.state, "buildkitd.toml")
	if err := os.WriteFile(config, []byte(o.configuration(root)), 0o600); err != nil {
		return nil, err
	}
	d := &daemon{log: &bytes.Buffer{}, ended: make(chan struct{})}
	d.process = exec.Command("/bin/buildkitd", "--config", config,
		"--otel-socket-path", filepath.Join(o.state, "otel.sock"))
	d.process.Env = []string{
		"PATH=/bin", "HOME=" + o.state, "TMPDIR=" + o.state, "XDG_RUNTIME_DIR=" + o.state,
		"SSL_CERT_FILE=" + roots, "OTEL_TRACES_EXPORTER=none",
	}
	d.process.Stdout, d.process.Stderr = d.log, d.log
	if err := d.process.Start(); err != nil {
		return nil, err
	}
	go func() {
		d.err = d.process.Wait()
		close(d.ended)
	}()
	if err := d.connect(ctx, "unix://"+o.socket()); err != nil {
		d.stop()
		return nil, fmt.Errorf("BuildKit did not start: %w\n%s", err, tail(d.log.String(), 15))
	}
	return d, nil
}

func (d *daemon) connect(ctx context.Context, address string) error {
	ctx, cancel := context.WithTimeout(ctx, daemonStart)
	defer cancel()
	for {
		made, err := client.New(ctx, address)
		if err == nil {
			if _, err = made.Info(ctx); err == nil {
				d.client = made
				return nil
			}
			_ = made.Close()
		}
		select {
		case <-ctx.Done():
			return errors.Join(ctx.Err(), err)
		case <-d.ended:
			return fmt.Errorf("it ended: %v", d.err)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// stop ends the daemon and tells whether it ended by itself. Its exit code tells nothing: it fails
// with what ended it, however well it closed its files.
func (d *daemon) stop() bool {
	if d.client != nil {
		_ = d.client.Close()
	}
	_ = d.process.Process.Signal(os.Interrupt)
	select {
	case <-d.ended:
	case <-time.After(daemonStop):
		_ = d.process.Process.Kill()
		<-d.ended
	}
	return d.process.ProcessState.Exited()
}

func (o *buildOptions) solve(ctx context.Context, d *daemon, made *plan) error {
	options, err := o.options(made)
	if err != nil {
		return err
	}
	// Attributes that make BuildKit read the file by itself, not by the frontend it names.
	options.FrontendAttrs["cmdline"] = "docker/dockerfile"
	display, err := progressui.NewDisplay(os.Stdout, progressui.PlainMode)
	if err != nil {
		return err
	}
	failures := newFailures(o.scanner)
	updates, shown := make(chan *client.SolveStatus), make(chan *client.SolveStatus, 16)
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error {
		defer close(shown)
		for status := range updates {
			failures.add(status)
			shown <- status
		}
		return nil
	})
	group.Go(func() error {
		_, err := display.UpdateFrom(context.WithoutCancel(ctx), shown)
		return err
	})
	var solved error
	group.Go(func() error {
		_, solved = d.client.Solve(ctx, nil, *options, updates)
		return nil
	})
	if err := group.Wait(); err != nil && solved == nil {
		return err
	}
	if solved != nil {
		return failures.explain(solved)
	}
	return nil
}

func (o *buildOptions) options(made *plan) (*client.SolveOpt, error) {
	folder := filepath.Join(o.state, "dockerfile")
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return nil, err
	}
	file := filepath.Join(folder, "Dockerfile")
	if err := os.WriteFile(file, []byte(made.Dockerfile), 0o644); err != nil {
		return nil, err
	}
	dockerfile, err := fsutil.NewFS(folder)
	if err != nil {
		return nil, err
	}
	files, err := fsutil.NewFS(filepath.Join(o.source, made.Context))
	if err != nil {
		return nil, err
	}
	options := &client.SolveOpt{
		// Another for each build: files are compared with an earlier build's by size and time alone.
		SharedKey:     o.name,
		Frontend:      "dockerfile.v0",
		FrontendAttrs: map[string]string{"attest:provenance": "mode=max", "filename": "Dockerfile"},
		LocalMounts:   map[string]fsutil.FS{"context": files, "dockerfile": dockerfile},
		Exports: []client.ExportEntry{{
			Type:      client.ExporterOCI,
			Attrs:     map[string]string{"tar": "false", "name": o.name, "compression": compression},
			OutputDir: filepath.Join(o.output, "image"),
		}},
	}
	if o.scanner != "" {
		options.FrontendAttrs["attest:sbom"] = "generator=" + o.scanner
	}
	for key, value := range o.labels {
		options.FrontendAttrs["label:"+key] = value
	}
	return options, o.addCache(options)
}

func (o *buildOptions) addCache(options *client.SolveOpt) error {
	if o.cache != "" {
		options.CacheExports = []client.CacheOptionsEntry{{
			Type: "local",
			Attrs: map[string]string{
				"dest": filepath.Join(o.output, "cache"), "mode": "max",
				"image-manifest": "true", "oci-mediatypes": "true", "ignore-error": "true",
				"compression": compression,
			},
		}}
		if !o.clear {
			options.CacheImports = []client.CacheOptionsEntry{{
				Type: "registry", Attrs: map[string]string{"ref": o.cache},
			}}
		}
	}
	if o.clear {
		options.FrontendAttrs["no-cache"] = ""
	}
	if o.token == "" {
		return nil
	}
	content, err := os.ReadFile(o.token)
	if err != nil {
		return err
	}
	token := strings.TrimSpace(string(content))
	options.Session = []session.Attachable{
		authprovider.NewDockerAuthProvider(authprovider.DockerAuthProviderConfig{
			AuthConfigProvider: func(
				_ context.Context, host string, _ []string, _ authprovider.ExpireCachedAuthCheck,
			) (types.AuthConfig, error) {
				if host != o.registry {
					return types.AuthConfig{}, nil
				}
				return types.AuthConfig{RegistryToken: token}, nil
			},
		}),
	}
	return nil
}

func writeAuthorities(path string) error {
	var text bytes.Buffer
	for root := range bundle.Roots() {
		block := &pem.Block{Type: "CERTIFICATE", Bytes: root.Certificate}
		if err := pem.Encode(&text, block); err != nil {
			return err
		}
	}
	return os.WriteFile(path, text.Bytes(), 0o600)
}

func tail(text string, count int) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return strings.Join(lines[max(0, len(lines)-count):], "\n")
}
