package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/go-git/go-git/v5/plumbing/transport"
	gitssh "github.com/go-git/go-git/v5/plumbing/transport/ssh"
	"github.com/skeema/knownhosts"
	"golang.org/x/crypto/ssh"
)

const (
	sshTimeout  = 20 * time.Second
	defaultPort = 22
)

// deployKey is who we are for an ssh server, and which keys it may have itself.
type deployKey struct {
	user   string
	signer ssh.Signer
	known  *knownhosts.HostKeyDB
	host   string
}

func (k *deployKey) Name() string   { return "deploy-key" }
func (k *deployKey) String() string { return "deploy key for " + k.host }

// ClientConfig asks for the kinds of host keys that are known: with another kind, which the server
// may prefer, there would be nothing to compare with.
func (k *deployKey) ClientConfig() (*ssh.ClientConfig, error) {
	check := k.known.HostKeyCallback()
	return &ssh.ClientConfig{
		User: k.user,
		Auth: []ssh.AuthMethod{ssh.PublicKeys(k.signer)},
		// The address is dialled, the name is what the file of known hosts has.
		HostKeyCallback: func(_ string, remote net.Addr, key ssh.PublicKey) error {
			return check(k.host, remote, key)
		},
		HostKeyAlgorithms: k.known.HostKeyAlgorithms(k.host),
		Timeout:           sshTimeout,
	}, nil
}

// secureShell opens a session with the deploy key. Without known hosts nothing is dialled: whoever
// answered first could be anybody.
func (o *remoteOptions) secureShell(
	ctx context.Context, endpoint *transport.Endpoint,
) (transport.UploadPackSession, error) {
	if o.key == "" || o.knownHosts == "" {
		return nil, faultf("spec.cloneSecret: ssh needs a Secret with the keys `ssh-privatekey` " +
			"and `known_hosts`")
	}
	content, err := os.ReadFile(o.key)
	if err != nil {
		return nil, err
	}
	signer, err := ssh.ParsePrivateKey(content)
	if err != nil {
		return nil, faultf("spec.cloneSecret: `ssh-privatekey` is no private key without a passphrase")
	}
	known, err := knownhosts.NewDB(o.knownHosts)
	if err != nil {
		return nil, faultf("spec.cloneSecret: `known_hosts` cannot be read: not in its format")
	}
	port := endpoint.Port
	if port == 0 {
		port = defaultPort
	}
	host := net.JoinHostPort(endpoint.Host, strconv.Itoa(port))
	if len(known.HostKeys(host)) == 0 {
		return nil, faultf("spec.cloneSecret: `known_hosts` has no key of %s", host)
	}
	address, err := o.inner.lookUp(ctx, endpoint.Host)
	if err != nil {
		return nil, err
	}
	user := endpoint.User
	if user == "" {
		user = "git"
	}
	dialled := *endpoint
	dialled.Host, dialled.Port, dialled.User = address, port, user
	gitssh.DefaultSSHConfig = nil
	return gitssh.NewClient(nil).NewUploadPackSession(
		&dialled, &deployKey{user: user, signer: signer, known: known, host: host})
}

// lookUp returns the first address of *host* that may be dialled. The address is what is dialled
// then: the name is not looked up again.
func (n networks) lookUp(ctx context.Context, host string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	found, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return "", err
	}
	for _, each := range found {
		if n.permits(each) {
			return each.Unmap().String(), nil
		}
	}
	return "", fmt.Errorf("%s %w", host, errInner)
}

// explainShell tells what went wrong between us and an ssh server.
func explainShell(err error) error {
	switch {
	case knownhosts.IsHostKeyChanged(err), knownhosts.IsHostUnknown(err):
		return faultf("spec.cloneSecret: the server shows another key than `known_hosts` has: %s", err)
	// The library has no error of its own for it.
	case strings.Contains(err.Error(), "unable to authenticate"):
		return faultf("spec.repo: the server does not take the deploy key of spec.cloneSecret")
	}
	return nil
}
