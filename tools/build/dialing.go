package main

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"time"

	"golang.org/x/crypto/x509roots/fallback/bundle"
)

const connectTimeout = 10 * time.Second

// shared is address space of carriers, which Go does not count as private. Source: RFC 6598.
var shared = netip.MustParsePrefix("100.64.0.0/10")

// carriers are IPv6 addresses that gateways turn into IPv4, inner ones included.
// Source: RFC 6052, 8215, 4380, 3056; the operator refuses the same (bex_operator/outbound.py).
var carriers = []netip.Prefix{
	netip.MustParsePrefix("64:ff9b::/96"),
	netip.MustParsePrefix("64:ff9b:1::/48"),
	netip.MustParsePrefix("2001::/32"),
	netip.MustParsePrefix("2002::/16"),
}

// networks are the inner addresses that may be dialled all the same.
type networks []netip.Prefix

func (n *networks) String() string { return fmt.Sprint([]netip.Prefix(*n)) }

func (n *networks) Set(value string) error {
	for each := range strings.SplitSeq(value, ",") {
		prefix, err := netip.ParsePrefix(each)
		if err != nil {
			return err
		}
		*n = append(*n, prefix)
	}
	return nil
}

// permits tells whether an address is public, or inner and allowed. It looks at the address that
// is dialled, after names were looked up: a name that answers differently the second time gains
// nothing.
func (n networks) permits(address netip.Addr) bool {
	address = address.Unmap()
	for _, prefix := range n {
		if prefix.Contains(address) {
			return true
		}
	}
	for _, prefix := range carriers {
		if prefix.Contains(address) {
			return false
		}
	}
	return address.IsGlobalUnicast() && !address.IsPrivate() && !shared.Contains(address)
}

var errInner = errors.New("leads to an inner address, which repositories may not name")

func (n networks) control(_, address string, _ syscall.RawConn) error {
	found, err := netip.ParseAddrPort(address)
	if err != nil {
		return err
	}
	if !n.permits(found.Addr()) {
		return fmt.Errorf("%s %w", found.Addr(), errInner)
	}
	return nil
}

func (n networks) dial(ctx context.Context, network, address string) (net.Conn, error) {
	dialer := net.Dialer{Timeout: connectTimeout, Control: n.control}
	return dialer.DialContext(ctx, network, address)
}

// authorities are the public ones, and those in the file *extra* unless it is empty.
func authorities(extra string) (*x509.CertPool, error) {
	pool := x509.NewCertPool()
	for root := range bundle.Roots() {
		certificate, err := x509.ParseCertificate(root.Certificate)
		if err != nil {
			return nil, err
		}
		if root.Constraint == nil {
			pool.AddCert(certificate)
		} else {
			pool.AddCertWithConstraint(certificate, root.Constraint)
		}
	}
	if extra == "" {
		return pool, nil
	}
	content, err := os.ReadFile(extra)
	if err != nil {
		return nil, err
	}
	if !pool.AppendCertsFromPEM(content) {
		return nil, fmt.Errorf("%s holds no certificate", extra)
	}
	return pool, nil
}

// inPlace refuses redirects, as the operator does: where a repository is now is for its App to say,
// and a token for one host is not for another.
type inPlace struct{ next http.RoundTripper }

func (p inPlace) RoundTrip(request *http.Request) (*http.Response, error) {
	answer, err := p.next.RoundTrip(request)
	if err == nil && answer.StatusCode >= 300 && answer.StatusCode < 400 {
		_ = answer.Body.Close()
		return nil, faultf("spec.repo: %s redirects; name the repository where it is",
			request.URL.Hostname())
	}
	return answer, err
}
