// Command hello-go answers every request with what it knows: its host name, its revision and the
// request as it arrived. It has no dependency, so it builds in a second and fits an empty image.
package main

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
)

const (
	shutdownTimeout = 15 * time.Second
	maxStreamEvents = 10_000
)

type server struct {
	hostname string
	revision string
	// stopping is closed when SIGTERM arrives: streams end, so that they do not hold up the drain.
	stopping  chan struct{}
	isLeaving atomic.Bool
}

// hello writes the request back as text.
func (s *server) hello(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("X-Served-By", s.hostname)
	if r.Method == http.MethodHead {
		return
	}
	fmt.Fprintf(w, "Hello from %s\nRevision: %s\n\n", s.hostname, s.revision)
	fmt.Fprintf(w, "%s %s %s\nHost: %s\n", r.Method, r.URL.RequestURI(), r.Proto, r.Host)
	names := make([]string, 0, len(r.Header))
	for name := range r.Header {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		fmt.Fprintf(w, "%s: %s\n", name, strings.Join(r.Header[name], ", "))
	}
}

// health answers 503 once the process is leaving, so that no new traffic is sent here.
func (s *server) health(w http.ResponseWriter, _ *http.Request) {
	if s.isLeaving.Load() {
		http.Error(w, "leaving", http.StatusServiceUnavailable)
		return
	}
	_, _ = io.WriteString(w, "ok\n")
}

// stream sends server-sent events: ?count=N of them (default 10), ?every=DURATION apart.
func (s *server) stream(w http.ResponseWriter, r *http.Request) {
	count, err := strconv.Atoi(cmp.Or(r.URL.Query().Get("count"), "10"))
	if err != nil || count < 1 || count > maxStreamEvents {
		http.Error(w, fmt.Sprintf("count must be 1-%d", maxStreamEvents), http.StatusBadRequest)
		return
	}
	every, err := time.ParseDuration(cmp.Or(r.URL.Query().Get("every"), "1s"))
	if err != nil || every < time.Millisecond {
		http.Error(w, "every must be a duration of 1ms or more", http.StatusBadRequest)
		return
	}
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-store")
	flusher := http.NewResponseController(w)
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for number := 1; number <= count; number++ {
		fmt.Fprintf(w, "id: %d\ndata: %s %d\n\n", number, s.hostname, number)
		if flusher.Flush() != nil || number == count {
			return
		}
		select {
		case <-ticker.C:
		case <-s.stopping:
			return
		case <-r.Context().Done():
			return
		}
	}
}

// echo switches to the protocol "echo" and sends every byte back: what an upgrade needs of a proxy.
func (s *server) echo(w http.ResponseWriter, r *http.Request) {
	if !strings.EqualFold(r.Header.Get("Upgrade"), "echo") {
		w.Header().Set("Upgrade", "echo")
		http.Error(w, "ask for Upgrade: echo", http.StatusUpgradeRequired)
		return
	}
	connection, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		http.Error(w, "this connection cannot be upgraded", http.StatusInternalServerError)
		return
	}
	defer connection.Close()
	go func() {
		<-s.stopping
		_ = connection.Close()
	}()
	_ = connection.SetDeadline(time.Time{})
	_, _ = buffered.WriteString(
		"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
	if buffered.Flush() == nil {
		copyBack(connection, buffered.Reader)
	}
}

func copyBack(connection net.Conn, from *bufio.Reader) {
	buffer := make([]byte, 4096)
	for {
		n, err := from.Read(buffer)
		if n > 0 {
			if _, err := connection.Write(buffer[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

func (s *server) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/", s.hello)
	mux.HandleFunc("/healthz", s.health)
	mux.HandleFunc("/stream", s.stream)
	mux.HandleFunc("/echo", s.echo)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if s.isLeaving.Load() {
			// The client comes back elsewhere. Closing idle connections instead would race with
			// a request that is already on its way.
			w.Header().Set("Connection", "close")
		}
		mux.ServeHTTP(w, r)
	})
}

// drainSeconds is how long requests are still taken after SIGTERM: proxies need a moment to learn
// that this pod leaves, and a connection refused meanwhile would be a failed request.
func drainSeconds() (time.Duration, error) {
	text := cmp.Or(os.Getenv("DRAIN_SECONDS"), "3")
	seconds, err := strconv.ParseFloat(text, 64)
	if err != nil || seconds < 0 || seconds > 60 {
		return 0, fmt.Errorf("DRAIN_SECONDS %q is not a number from 0 to 60", text)
	}
	return time.Duration(seconds * float64(time.Second)), nil
}

func run() error {
	drain, err := drainSeconds()
	if err != nil {
		return err
	}
	hostname, err := os.Hostname()
	if err != nil {
		return err
	}
	s := &server{
		hostname: hostname,
		revision: cmp.Or(os.Getenv("BEX_REVISION"), "unknown"),
		stopping: make(chan struct{}),
	}
	listener, err := net.Listen("tcp", ":"+cmp.Or(os.Getenv("PORT"), "8080"))
	if err != nil {
		return err
	}
	serving := &http.Server{Handler: s.routes(), ReadHeaderTimeout: 10 * time.Second}
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM, os.Interrupt)
	failed := make(chan error, 1)
	go func() { failed <- serving.Serve(listener) }()
	slog.Info("listening", "address", listener.Addr().String(), "revision", s.revision)
	select {
	case err := <-failed:
		return err
	case <-signals:
	}
	s.isLeaving.Store(true)
	close(s.stopping)
	slog.Info("leaving", "drain", drain.String())
	time.Sleep(drain)
	ctx, cancel := context.WithTimeout(context.Background(), shutdownTimeout)
	defer cancel()
	return serving.Shutdown(ctx)
}

func main() {
	if err := run(); err != nil && !errors.Is(err, http.ErrServerClosed) {
		slog.Error("ended", "error", err.Error())
		os.Exit(1)
	}
}
