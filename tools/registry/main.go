// Command registry serves OCI images from a folder: CNCF distribution's handlers with the
// file-system storage driver only, listening on several addresses, configured by flags.
package main

import (
	"context"
	"crypto/rand"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/distribution/distribution/v3/configuration"
	"github.com/distribution/distribution/v3/health"
	"github.com/distribution/distribution/v3/registry/handlers"
	"github.com/distribution/distribution/v3/registry/storage/driver/filesystem"
	"github.com/sirupsen/logrus"
)

// maxEntries is distribution's own default for lists of repositories and tags; flags have no file
// to take it from, and zero would answer empty lists.
const maxEntries = 1000

// quiet drops what distribution logs as an error for every image it is asked for and lacks: that
// is how a push begins, and how machines find out that they must ask elsewhere.
type quiet struct{ logrus.Formatter }

func (q quiet) Format(entry *logrus.Entry) ([]byte, error) {
	if entry.Data["http.response.status"] == http.StatusNotFound && entry.Level >= logrus.ErrorLevel {
		return nil, nil
	}
	return q.Formatter.Format(entry)
}

type addresses []string

func (a *addresses) String() string { return strings.Join(*a, ",") }

func (a *addresses) Set(value string) error {
	if _, _, err := net.SplitHostPort(value); err != nil {
		return fmt.Errorf("must be HOST:PORT: %w", err)
	}
	*a = append(*a, value)
	return nil
}

type options struct {
	listen   addresses
	guarded  addresses
	key      string
	root     string
	logLevel string
	drain    time.Duration
}

func parse(args []string) (options, error) {
	var o options
	flags := flag.NewFlagSet("registry", flag.ContinueOnError)
	flags.Var(&o.listen, "listen", "HOST:PORT to serve on; repeat it for more addresses")
	flags.Var(&o.guarded, "listen-guarded", "HOST:PORT to serve on to holders of tokens only")
	flags.StringVar(&o.key, "token-key", "", "file with the key that tokens are signed with")
	flags.StringVar(&o.root, "root", "", "folder that holds the images")
	flags.StringVar(&o.logLevel, "log-level", "warning", "error, warning, info or debug")
	flags.DurationVar(&o.drain, "drain", 10*time.Second, "how long requests may go on after SIGTERM")
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	switch {
	case len(flags.Args()) > 0:
		return o, fmt.Errorf("unexpected argument %q", flags.Arg(0))
	case len(o.listen) == 0:
		return o, errors.New("-listen is missing")
	case o.root == "":
		return o, errors.New("-root is missing")
	case len(o.guarded) > 0 && o.key == "":
		return o, errors.New("-listen-guarded needs -token-key")
	}
	return o, nil
}

func configure(o options) *configuration.Configuration {
	config := &configuration.Configuration{
		Storage: configuration.Storage{
			"filesystem": configuration.Parameters{"rootdirectory": o.root},
			"delete":     configuration.Parameters{"enabled": true},
			// No descriptor cache: it would go on naming blobs whose files a clean-up removed.
			"maintenance": configuration.Parameters{
				"uploadpurging": map[any]any{
					"enabled": true, "age": "24h", "interval": "1h", "dryrun": false,
				},
			},
		},
	}
	config.Log.Level = configuration.Loglevel(o.logLevel)
	config.Log.AccessLog.Disabled = true
	// Clients follow relative locations to the name they know this registry by, which differs
	// between the host and the machines.
	config.HTTP.RelativeURLs = true
	// Signs the state of uploads in progress; one that a restart breaks is begun anew.
	config.HTTP.Secret = rand.Text()
	config.Catalog.MaxEntries = maxEntries
	config.Tags.MaxTags = maxEntries
	config.Health.StorageDriver.Enabled = true
	config.Health.StorageDriver.Interval = 10 * time.Second
	config.Health.StorageDriver.Threshold = 3
	return config
}

// healthz answers 200 while the storage folder can be read, else 503 and what is wrong.
func healthz(w http.ResponseWriter, r *http.Request) {
	status := http.StatusOK
	body := "ok\n"
	if bad := health.CheckStatus(r.Context()); len(bad) > 0 {
		status = http.StatusServiceUnavailable
		body = ""
		for name, message := range bad {
			body += name + ": " + message + "\n"
		}
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, body)
}

func listenAll(wanted addresses) ([]net.Listener, error) {
	var listeners []net.Listener
	for _, address := range wanted {
		listener, err := net.Listen("tcp", address)
		if err != nil {
			for _, open := range listeners {
				_ = open.Close()
			}
			return nil, err
		}
		listeners = append(listeners, listener)
	}
	return listeners, nil
}

func serve(ctx context.Context, o options) error {
	if err := os.MkdirAll(o.root, 0o700); err != nil {
		return err
	}
	app := handlers.NewApp(ctx, configure(o))
	app.RegisterHealthChecks()
	files := filesystem.New(filesystem.DriverParameters{RootDirectory: o.root, MaxThreads: 8})
	care := newCare(ctx, o.root, files)
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", healthz)
	mux.Handle("/bex/", care.handler(nil))
	mux.Handle("/", health.Handler(care.guard.around(app)))
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 30 * time.Second}

	guarded := &http.Server{ReadHeaderTimeout: server.ReadHeaderTimeout}
	if len(o.guarded) > 0 {
		key, err := readKey(o.key)
		if err != nil {
			return err
		}
		config := configure(o)
		config.Auth = configuration.Auth{"bex": configuration.Parameters{"key": key}}
		both := http.NewServeMux()
		both.Handle("/bex/", care.handler(&tokens{key: key}))
		both.Handle("/", care.guard.around(handlers.NewApp(ctx, config)))
		guarded.Handler = both
	}

	failed := make(chan error, len(o.listen)+len(o.guarded))
	if err := serveOn(server, o.listen, failed); err != nil {
		return err
	}
	if err := serveOn(guarded, o.guarded, failed); err != nil {
		return err
	}
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}
	drained, cancel := context.WithTimeout(context.Background(), o.drain)
	defer cancel()
	return errors.Join(server.Shutdown(drained), guarded.Shutdown(drained), app.Shutdown())
}

func serveOn(server *http.Server, wanted addresses, failed chan<- error) error {
	listeners, err := listenAll(wanted)
	if err != nil {
		return err
	}
	for _, listener := range listeners {
		fmt.Fprintf(os.Stderr, "registry: serving on %s\n", listener.Addr())
		go func() { failed <- server.Serve(listener) }()
	}
	return nil
}

func main() {
	o, err := parse(os.Args[1:])
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "registry:", err)
		os.Exit(2)
	}
	level, err := logrus.ParseLevel(o.logLevel)
	if err != nil {
		fmt.Fprintln(os.Stderr, "registry: -log-level:", err)
		os.Exit(2)
	}
	logrus.SetLevel(level)
	if level < logrus.InfoLevel {
		logrus.SetFormatter(quiet{&logrus.TextFormatter{DisableColors: true}})
	}
	// Spans would go to a collector that nobody runs here.
	_ = os.Setenv("OTEL_TRACES_EXPORTER", "none")
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := serve(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, "registry:", err)
		os.Exit(1)
	}
}
