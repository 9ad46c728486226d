// Package pools lets Caddy learn which pods answer for a route without loading a new configuration.
//
// A configuration load closes idle client connections and gives up waiting retries, which is fine when
// a route changes and far too much when a pod does. So routes name a pool ("namespace/service:port"),
// and the addresses of all pools are one table that is replaced as a whole:
//
//	app        bex                                the table a configuration starts from
//	upstreams  http.reverse_proxy.upstreams.bex   the addresses of one pool, read at every attempt;
//	                                              one that just failed is left out for a moment
//	matcher    http.matchers.bex_ready            true while a pool has an address
//	admin      GET, PUT /bex/pools                read or replace the table
package pools

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"
)

const (
	maxTableBytes = 64 << 20

	// A pod that died is out of the table within a second; one on a dead machine takes longer, and
	// costs one attempt per this time.
	suspicion = 2 * time.Second
)

func init() {
	caddy.RegisterModule(App{})
	caddy.RegisterModule(Upstreams{})
	caddy.RegisterModule(Ready{})
	caddy.RegisterModule(Admin{})
}

// table is never changed once stored; requests read it without a lock.
type table struct {
	pools  map[string][]string
	digest string
}

var current atomic.Pointer[table]

func addresses(pool string) []string {
	if now := current.Load(); now != nil {
		return now.pools[pool]
	}
	return nil
}

// newTable's digest is that of compact JSON with sorted keys, which any feeder can compute as well.
func newTable(pools map[string][]string) (*table, error) {
	if pools == nil {
		pools = map[string][]string{}
	}
	for name, members := range pools {
		for _, member := range members {
			if _, err := netip.ParseAddrPort(member); err != nil {
				return nil, fmt.Errorf("pool %q: %q is not an address with a port: %w", name, member, err)
			}
		}
	}
	raw, err := json.Marshal(pools)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(raw)
	return &table{pools: pools, digest: hex.EncodeToString(sum[:])}, nil
}

// suspects are addresses that failed an attempt which may be repeated. Caddy's own passive health
// checks also count requests that the client broke off, so a client could take every pod out.
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

// App carries the table within a configuration, so that Caddy restarts with the pods it last knew.
type App struct {
	// Routes identifies the configuration this app is part of, for whoever feeds Caddy.
	Routes string `json:"routes,omitempty"`
	// Pools maps a pool's name to the addresses ("ip:port") of its ready pods.
	Pools map[string][]string `json:"pools,omitempty"`

	table *table
}

// CaddyModule returns the Caddy module information.
func (App) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "bex", New: func() caddy.Module { return new(App) }}
}

// Provision checks the table.
func (a *App) Provision(caddy.Context) (err error) {
	a.table, err = newTable(a.Pools)
	return err
}

// Start makes the table the current one.
func (a *App) Start() error {
	current.Store(a.table)
	return nil
}

// Stop keeps the table: requests of the configuration that ends still need it.
func (*App) Stop() error { return nil }

// Upstreams is the source of addresses of one pool.
type Upstreams struct {
	// Pool is the pool's name.
	Pool string `json:"pool"`
}

// CaddyModule returns the Caddy module information.
func (Upstreams) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "http.reverse_proxy.upstreams.bex",
		New: func() caddy.Module { return new(Upstreams) },
	}
}

// GetUpstreams returns values of their own for every attempt, because the proxy writes into them.
func (u Upstreams) GetUpstreams(*http.Request) ([]*reverseproxy.Upstream, error) {
	members := trusted(addresses(u.Pool))
	upstreams := make([]*reverseproxy.Upstream, len(members))
	for i, member := range members {
		upstreams[i] = &reverseproxy.Upstream{Dial: member}
	}
	return upstreams, nil
}

// ResetCache is called before an attempt is repeated; the replacer knows where the last one went.
func (u Upstreams) ResetCache(r *http.Request) error {
	replacer, ok := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer)
	if !ok {
		return nil
	}
	if address, _ := replacer.GetString("http.reverse_proxy.upstream.hostport"); address != "" {
		suspect(address)
	}
	return nil
}

// Ready matches requests while its pool has an address.
type Ready struct {
	// Pool is the pool's name.
	Pool string `json:"pool"`
}

// CaddyModule returns the Caddy module information.
func (Ready) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "http.matchers.bex_ready",
		New: func() caddy.Module { return new(Ready) },
	}
}

// MatchWithError reports whether the pool has an address.
func (m Ready) MatchWithError(*http.Request) (bool, error) {
	return len(addresses(m.Pool)) > 0, nil
}

// Admin reads and replaces the table over the admin API.
type Admin struct{}

// CaddyModule returns the Caddy module information.
func (Admin) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "admin.api.bex", New: func() caddy.Module { return new(Admin) }}
}

// Routes returns the one route of this module.
func (Admin) Routes() []caddy.AdminRoute {
	return []caddy.AdminRoute{
		{Pattern: "/bex/pools", Handler: caddy.AdminHandlerFunc(servePools)},
	}
}

// state is what the feeder compares with its own to learn that Caddy restarted or was changed.
type state struct {
	Routes string `json:"routes"`
	Digest string `json:"digest"`
}

func servePools(w http.ResponseWriter, r *http.Request) error {
	switch r.Method {
	case http.MethodGet:
		return writeState(w)
	case http.MethodPut:
		return replacePools(w, r)
	default:
		return caddy.APIError{
			HTTPStatus: http.StatusMethodNotAllowed,
			Err:        fmt.Errorf("method %s is neither GET nor PUT", r.Method),
		}
	}
}

func writeState(w http.ResponseWriter) error {
	var now state
	app, err := caddy.ActiveContext().AppIfConfigured("bex")
	if err != nil && !errors.Is(err, caddy.ErrNotConfigured) {
		return err
	}
	if configured, ok := app.(*App); ok {
		now.Routes = configured.Routes
	}
	if table := current.Load(); table != nil {
		now.Digest = table.digest
	}
	w.Header().Set("Content-Type", "application/json")
	return json.NewEncoder(w).Encode(now)
}

func replacePools(w http.ResponseWriter, r *http.Request) error {
	var pools map[string][]string
	body := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxTableBytes))
	if err := body.Decode(&pools); err != nil {
		return caddy.APIError{HTTPStatus: http.StatusBadRequest, Err: err}
	}
	next, err := newTable(pools)
	if err != nil {
		return caddy.APIError{HTTPStatus: http.StatusBadRequest, Err: err}
	}
	current.Store(next)
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// Interfaces the modules are found by.
var (
	_ caddy.App                          = (*App)(nil)
	_ caddy.Provisioner                  = (*App)(nil)
	_ reverseproxy.CachingUpstreamSource = (*Upstreams)(nil)
	_ caddyhttp.RequestMatcherWithError  = (*Ready)(nil)
	_ caddy.AdminRouter                  = (*Admin)(nil)
)
