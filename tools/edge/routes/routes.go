// Package routes lets Caddy learn hosts, paths and pods without loading a configuration.
//
// A configuration load closes idle client connections (a POST sent at that moment fails) and gives up
// waiting retries. So the configuration is fixed, and what changes is one table that is replaced as a
// whole:
//
//	app         bex                               the table a configuration starts from
//	handler     http.handlers.bex                 looks the request up; says in the variable "bex" what
//	                                              is to be done with it
//	upstreams   http.reverse_proxy.upstreams.bex  the pods of the pool found, asked for at every attempt;
//	                                              one that just failed is left out for a moment
//	matcher     http.matchers.bex_repeat          whether a request may be sent once more although a
//	                                              pod may have seen it
//	admin       GET, PUT /bex/table               its digest; replace it
package routes

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"
	"github.com/caddyserver/caddy/v2/modules/caddytls"
)

const (
	maxTableBytes = 64 << 20

	// A pod that ends is out of the table within a second; one on a machine that died takes longer,
	// and costs one attempt per this time.
	suspicion = 2 * time.Second

	// A request that makes its pod break off must not be let loose on all of them.
	maxRepeats = 2
)

// What the variable "bex" says of a request, besides what the pods speak ("http" or "h2c").
const (
	outcomeVar  = "bex"
	poolVar     = "bex_pool"
	repeatsVar  = "bex_repeats"
	starting    = "starting"
	unknownHost = "unknown_host"
	unknownPath = "unknown_path"
	noPod       = "no_pod"
)

func init() {
	caddy.RegisterModule(App{})
	caddy.RegisterModule(Lookup{})
	caddy.RegisterModule(Upstreams{})
	caddy.RegisterModule(Repeat{})
	caddy.RegisterModule(Admin{})
}

// Path sends requests to a pool.
type Path struct {
	// Path begins with a slash; a prefix ends with none, unless it is the root.
	Path string `json:"path"`
	// Exact paths equal the request's; others are a prefix of whole elements.
	Exact bool `json:"exact,omitempty"`
	// Pool is a key of Table.Pools.
	Pool string `json:"pool"`
	// Speaks is "http" or "h2c".
	Speaks string `json:"speaks"`
}

func (p Path) matches(path string) bool {
	if p.Exact || path == p.Path {
		return path == p.Path
	}
	return p.Path == "/" || strings.HasPrefix(path, p.Path) && path[len(p.Path)] == '/'
}

// Table is all there is to serve. It is never changed once it is current: requests read it without
// a lock.
type Table struct {
	// Digest names this content, for whoever feeds Caddy.
	Digest string `json:"digest"`
	// Hosts, folded to lower case without the root's dot, have their paths in the order to be tried.
	// "*." in front of a host stands for one label.
	Hosts map[string][]Path `json:"hosts"`
	// Pools have the addresses ("ip:port") of their ready pods.
	Pools map[string][]string `json:"pools"`
}

var current atomic.Pointer[Table]

func (t *Table) check() error {
	for name, members := range t.Pools {
		for _, member := range members {
			if _, err := netip.ParseAddrPort(member); err != nil {
				return fmt.Errorf("pool %q: %q is not an address with a port: %w", name, member, err)
			}
		}
	}
	for host, paths := range t.Hosts {
		for _, path := range paths {
			if path.Speaks != "http" && path.Speaks != "h2c" {
				return fmt.Errorf("host %q: pods speak neither http nor h2c but %q", host, path.Speaks)
			}
		}
	}
	return nil
}

func (t *Table) find(host, path string) (outcome, pool string) {
	if t == nil {
		return starting, ""
	}
	paths, known := t.Hosts[host]
	if !known {
		if _, parent, found := strings.Cut(host, "."); found {
			paths, known = t.Hosts["*."+parent]
		}
	}
	if !known {
		return unknownHost, ""
	}
	for _, candidate := range paths {
		if candidate.matches(path) {
			if len(t.Pools[candidate.Pool]) == 0 {
				return noPod, ""
			}
			return candidate.Speaks, candidate.Pool
		}
	}
	return unknownPath, ""
}

// fold gives a Host header the form that hosts have in the table.
func fold(host string) string {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	return strings.ToLower(strings.TrimSuffix(host, "."))
}

// certified are the names the running TLS app has been told; it takes no two callers at once.
var certified = struct {
	sync.Mutex
	by    *caddytls.TLS
	names map[string]struct{}
}{}

// certify has a certificate made for every host that is new.
func certify(by *caddytls.TLS, table *Table) error {
	certified.Lock()
	defer certified.Unlock()
	if certified.by != by {
		certified.by, certified.names = by, map[string]struct{}{}
	}
	fresh := map[string]struct{}{}
	for host := range table.Hosts {
		if _, known := certified.names[host]; !known {
			fresh[host] = struct{}{}
		}
	}
	if len(fresh) == 0 {
		return nil
	}
	if err := by.Manage(fresh); err != nil {
		return err
	}
	for host := range fresh {
		certified.names[host] = struct{}{}
	}
	return nil
}

// suspects are addresses that failed an attempt which may be repeated. With Caddy's own passive health
// checks one request that makes a pod break off takes it away from everybody, the last pod as well.
var suspects = struct {
	sync.RWMutex
	until map[string]time.Time
}{until: map[string]time.Time{}}

func suspect(address string) {
	now := time.Now()
	suspects.Lock()
	defer suspects.Unlock()
	for known, until := range suspects.until {
		if now.After(until) {
			delete(suspects.until, known)
		}
	}
	suspects.until[address] = now.Add(suspicion)
}

// trusted leaves suspects out, unless nobody else is left.
func trusted(members []string) []string {
	suspects.RLock()
	defer suspects.RUnlock()
	if len(suspects.until) == 0 {
		return members
	}
	now := time.Now()
	rest := make([]string, 0, len(members))
	for _, member := range members {
		if !now.Before(suspects.until[member]) {
			rest = append(rest, member)
		}
	}
	if len(rest) == 0 {
		return members
	}
	return rest
}

// App carries the table within a configuration, so that Caddy restarts with what it last knew.
type App struct {
	// Config names the configuration this app is part of, for whoever feeds Caddy.
	Config string `json:"config,omitempty"`
	// Table may be left out; then the one before stays.
	Table *Table `json:"table,omitempty"`

	tls *caddytls.TLS
}

// CaddyModule returns the Caddy module information.
func (App) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "bex", New: func() caddy.Module { return new(App) }}
}

// Provision checks the table and finds who makes certificates.
func (a *App) Provision(ctx caddy.Context) error {
	found, err := ctx.App("tls")
	if err != nil {
		return err
	}
	a.tls = found.(*caddytls.TLS)
	if a.Table != nil {
		return a.Table.check()
	}
	return nil
}

// Start makes the table the current one.
func (a *App) Start() error {
	if a.Table != nil {
		current.Store(a.Table)
	}
	if table := current.Load(); table != nil {
		return certify(a.tls, table)
	}
	return nil
}

// Stop keeps the table: requests of the configuration that ends still need it.
func (*App) Stop() error { return nil }

// Lookup finds out what is to be done with a request, and hands it on.
type Lookup struct{}

// CaddyModule returns the Caddy module information.
func (Lookup) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "http.handlers.bex",
		New: func() caddy.Module { return new(Lookup) },
	}
}

// ServeHTTP sets the variables.
func (Lookup) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	outcome, pool := current.Load().find(fold(r.Host), caddyhttp.CleanPath(r.URL.Path, true))
	caddyhttp.SetVar(r.Context(), outcomeVar, outcome)
	caddyhttp.SetVar(r.Context(), poolVar, pool)
	return next.ServeHTTP(w, r)
}

// Upstreams is the source of the addresses of the pool that Lookup found.
type Upstreams struct{}

// CaddyModule returns the Caddy module information.
func (Upstreams) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "http.reverse_proxy.upstreams.bex",
		New: func() caddy.Module { return new(Upstreams) },
	}
}

// GetUpstreams returns values of their own for every attempt, because the proxy writes into them.
func (Upstreams) GetUpstreams(r *http.Request) ([]*reverseproxy.Upstream, error) {
	pool, _ := caddyhttp.GetVar(r.Context(), poolVar).(string)
	table := current.Load()
	if table == nil {
		return nil, nil
	}
	members := trusted(table.Pools[pool])
	upstreams := make([]*reverseproxy.Upstream, len(members))
	for i, member := range members {
		upstreams[i] = &reverseproxy.Upstream{Dial: member}
	}
	return upstreams, nil
}

// ResetCache is called before an attempt is repeated; the replacer knows where the last one went.
func (Upstreams) ResetCache(r *http.Request) error {
	replacer, ok := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer)
	if !ok {
		return nil
	}
	if address, _ := replacer.GetString("http.reverse_proxy.upstream.hostport"); address != "" {
		suspect(address)
	}
	return nil
}

// Repeat is asked after a connection to a pod broke, which leaves open what the pod did.
type Repeat struct{}

// CaddyModule returns the Caddy module information.
func (Repeat) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "http.matchers.bex_repeat",
		New: func() caddy.Module { return new(Repeat) },
	}
}

// MatchWithError says yes a few times, to methods that change nothing (RFC 9110, 9.2.1).
func (Repeat) MatchWithError(r *http.Request) (bool, error) {
	switch r.Method {
	case http.MethodGet, http.MethodHead, http.MethodOptions:
	default:
		return false, nil
	}
	repeats, _ := caddyhttp.GetVar(r.Context(), repeatsVar).(int)
	caddyhttp.SetVar(r.Context(), repeatsVar, repeats+1)
	return repeats < maxRepeats, nil
}

// Admin tells the table's digest and replaces it over the admin API.
type Admin struct{}

// CaddyModule returns the Caddy module information.
func (Admin) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "admin.api.bex", New: func() caddy.Module { return new(Admin) }}
}

// Routes returns the one route of this module.
func (Admin) Routes() []caddy.AdminRoute {
	return []caddy.AdminRoute{{Pattern: "/bex/table", Handler: caddy.AdminHandlerFunc(serveTable)}}
}

func serveTable(w http.ResponseWriter, r *http.Request) error {
	switch r.Method {
	case http.MethodGet:
		return writeState(w)
	case http.MethodPut:
		return replaceTable(w, r)
	default:
		return caddy.APIError{
			HTTPStatus: http.StatusMethodNotAllowed,
			Err:        fmt.Errorf("method %s is neither GET nor PUT", r.Method),
		}
	}
}

// writeState tells what the feeder compares with its own, to learn that Caddy restarted or changed.
func writeState(w http.ResponseWriter) error {
	state := struct {
		Config string `json:"config"`
		Table  string `json:"table"`
	}{}
	app, err := caddy.ActiveContext().AppIfConfigured("bex")
	if err != nil && !errors.Is(err, caddy.ErrNotConfigured) {
		return err
	}
	if configured, ok := app.(*App); ok {
		state.Config = configured.Config
	}
	if table := current.Load(); table != nil {
		state.Table = table.Digest
	}
	w.Header().Set("Content-Type", "application/json")
	return json.NewEncoder(w).Encode(state)
}

func replaceTable(w http.ResponseWriter, r *http.Request) error {
	next := new(Table)
	body := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxTableBytes))
	body.DisallowUnknownFields()
	if err := body.Decode(next); err != nil {
		return caddy.APIError{HTTPStatus: http.StatusBadRequest, Err: err}
	}
	if err := next.check(); err != nil {
		return caddy.APIError{HTTPStatus: http.StatusBadRequest, Err: err}
	}
	app, err := caddy.ActiveContext().AppIfConfigured("bex")
	if err != nil {
		return caddy.APIError{HTTPStatus: http.StatusConflict, Err: err}
	}
	current.Store(next)
	if err := certify(app.(*App).tls, next); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// Interfaces the modules are found by.
var (
	_ caddy.App                          = (*App)(nil)
	_ caddy.Provisioner                  = (*App)(nil)
	_ caddyhttp.MiddlewareHandler        = (*Lookup)(nil)
	_ reverseproxy.CachingUpstreamSource = (*Upstreams)(nil)
	_ caddyhttp.RequestMatcherWithError  = (*Repeat)(nil)
	_ caddy.AdminRouter                  = (*Admin)(nil)
)
