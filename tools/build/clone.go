package main

import (
	"context"
	"crypto/tls"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/go-git/go-billy/v5/osfs"
	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/cache"
	"github.com/go-git/go-git/v5/plumbing/format/packfile"
	"github.com/go-git/go-git/v5/plumbing/object"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp/capability"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp/sideband"
	"github.com/go-git/go-git/v5/plumbing/transport"
	githttp "github.com/go-git/go-git/v5/plumbing/transport/http"
	"github.com/go-git/go-git/v5/storage/filesystem"
)

const maxSubject = 200

// remoteOptions is how a repository is reached.
type remoteOptions struct {
	repo             string
	token, authority string
	key, knownHosts  string
	inner            networks
}

func (o *remoteOptions) register(flags *flag.FlagSet) {
	flags.StringVar(&o.repo, "repo", "", "URL of the repository, https or ssh")
	flags.StringVar(&o.token, "token", "", "file with a token for the repository")
	flags.StringVar(&o.authority, "authority", "", "file with further certificate authorities")
	flags.StringVar(&o.key, "key", "", "file with a private key for the repository")
	flags.StringVar(&o.knownHosts, "known-hosts", "", "file with the keys that ssh servers may have")
	flags.Var(&o.inner, "inner", "inner networks that repositories may be in, comma-separated")
}

type cloneOptions struct {
	remoteOptions
	commit          string
	into, objects   string
	maxBytes        int64
	maxFiles        int
	counts, ignored list
	baseScope       string
}

// clone fetches one commit without its history and lays its files out. No hook, filter, submodule
// or configuration of the repository is looked at, and no program is started.
func clone(ctx context.Context, flags *flag.FlagSet, args []string, told *outcome) error {
	var o cloneOptions
	o.register(flags)
	flags.StringVar(&o.commit, "commit", "", "the commit, 40 hexadecimal digits")
	flags.StringVar(&o.into, "into", "/source", "folder for the files")
	flags.StringVar(&o.objects, "objects", "/objects", "folder for what was fetched")
	flags.Int64Var(&o.maxBytes, "max-bytes", 1<<30, "most bytes to fetch, and most bytes of files")
	flags.IntVar(&o.maxFiles, "max-files", 100_000, "most files")
	flags.Var(&o.counts, "counts", "pattern of files that count for the build; repeat it for more")
	flags.Var(&o.ignored, "ignored", "pattern of files that do not; repeat it for more")
	flags.StringVar(&o.baseScope, "base-scope", "", "scope of the image that may go on instead")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if !plumbing.IsHash(o.commit) {
		return fmt.Errorf("-commit %q is not 40 hexadecimal digits", o.commit)
	}
	return o.run(ctx, told)
}

func (o *cloneOptions) run(ctx context.Context, told *outcome) error {
	store := filesystem.NewStorage(osfs.New(o.objects), cache.NewObjectLRU(64*cache.MiByte))
	if err := o.fetch(ctx, store); err != nil {
		return explain(err)
	}
	commit, err := object.GetCommit(store, plumbing.NewHash(o.commit))
	if err != nil {
		return faultf("spec.repo: %s is no commit: %s", o.commit, err)
	}
	told.Commit = o.commit
	told.Author = shorten(commit.Author.Name)
	subject, _, _ := strings.Cut(strings.TrimSpace(commit.Message), "\n")
	told.Subject = shorten(subject[:min(len(subject), maxSubject)])
	tree, err := commit.Tree()
	if err != nil {
		return err
	}
	if told.Scope, err = o.scope(store, tree); err != nil {
		return err
	}
	if err := o.need(commit.Message, told.Scope); err != nil {
		return err
	}
	written, err := newCheckout(o.into, o.maxBytes, o.maxFiles, store)
	if err != nil {
		return err
	}
	defer written.close()
	if err := written.write(tree, "", 0); err != nil {
		return err
	}
	fmt.Printf("commit %s by %s: %s\n%d files, %d bytes\n",
		o.commit, told.Author, told.Subject, written.files, written.bytes)
	return nil
}

func (o *cloneOptions) fetch(ctx context.Context, store *filesystem.Storage) error {
	session, err := o.session(ctx)
	if err != nil {
		return err
	}
	defer session.Close()
	advertised, err := session.AdvertisedReferencesContext(ctx)
	if err != nil {
		return err
	}
	request := packp.NewUploadPackRequestFromCapabilities(advertised.Capabilities)
	request.Wants = []plumbing.Hash{plumbing.NewHash(o.commit)}
	if advertised.Capabilities.Supports(capability.Shallow) {
		request.Depth = packp.DepthCommits(1)
		if err := request.Capabilities.Set(capability.Shallow); err != nil {
			return err
		}
	}
	answer, err := session.UploadPack(ctx, request)
	if err != nil {
		return err
	}
	defer answer.Close()
	return packfile.UpdateObjectStorage(store, &limited{demultiplexed(request, answer), o.maxBytes})
}

func (o *remoteOptions) session(ctx context.Context) (transport.UploadPackSession, error) {
	endpoint, err := transport.NewEndpoint(o.repo)
	if err != nil {
		return nil, faultf("spec.repo: %s", err)
	}
	if endpoint.Protocol == "ssh" && endpoint.Password == "" && !strings.HasPrefix(endpoint.Host, "-") {
		return o.secureShell(ctx, endpoint)
	}
	if endpoint.Protocol != "https" || endpoint.User != "" || endpoint.Password != "" {
		return nil, faultf("spec.repo: only https and ssh URLs without credentials can be cloned")
	}
	pool, err := authorities(o.authority)
	if err != nil {
		return nil, err
	}
	client := &http.Client{Transport: inPlace{&http.Transport{
		DialContext:           o.inner.dial,
		TLSClientConfig:       &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12},
		ForceAttemptHTTP2:     true,
		ResponseHeaderTimeout: time.Minute,
	}}}
	auth, err := readToken(o.token)
	if err != nil {
		return nil, err
	}
	return githttp.NewClient(client).NewUploadPackSession(endpoint, auth)
}

// readToken makes of a token what GitHub, GitLab, Gitea and Bitbucket take; without one the answer
// is nil.
func readToken(path string) (transport.AuthMethod, error) {
	if path == "" {
		return nil, nil
	}
	content, err := os.ReadFile(path)
	if err != nil {
		return nil, faultf("spec.cloneSecret: the Secret has no key `token`")
	}
	return &githttp.BasicAuth{
		Username: "x-access-token", Password: strings.TrimSpace(string(content)),
	}, nil
}

func demultiplexed(request *packp.UploadPackRequest, answer io.Reader) io.Reader {
	switch {
	case request.Capabilities.Supports(capability.Sideband64k):
		return sideband.NewDemuxer(sideband.Sideband64k, answer)
	case request.Capabilities.Supports(capability.Sideband):
		return sideband.NewDemuxer(sideband.Sideband, answer)
	}
	return answer
}

// limited fails instead of ending early when there is more than allowed.
type limited struct {
	from io.Reader
	left int64
}

func (l *limited) Read(into []byte) (int, error) {
	count, err := l.from.Read(into)
	l.left -= int64(count)
	if l.left < 0 {
		return 0, faultf("spec.repo: the commit is larger than builds may fetch")
	}
	return count, err
}

// explain tells apart who has to act.
func explain(err error) error {
	// What hides in it is not found by errors.As and errors.Is.
	var hidden *plumbing.UnexpectedError
	if errors.As(err, &hidden) {
		err = hidden.Err
	}
	var theirs fault
	if errors.As(err, &theirs) {
		return theirs
	}
	if shell := explainShell(err); shell != nil {
		return shell
	}
	switch {
	case errors.Is(err, errInner):
		return faultf("spec.repo: %s", err)
	case errors.Is(err, transport.ErrAuthenticationRequired),
		errors.Is(err, transport.ErrAuthorizationFailed):
		return faultf("spec.repo: the server wants other credentials; set spec.cloneSecret")
	case errors.Is(err, transport.ErrRepositoryNotFound),
		errors.Is(err, transport.ErrEmptyRemoteRepository):
		return faultf("spec.repo: %s", err)
	}
	return fmt.Errorf("the repository could not be fetched: %w", err)
}
