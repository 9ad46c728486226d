package main

import (
	"context"
	"flag"
	"fmt"

	"github.com/go-git/go-git/v5/plumbing"
)

// refs finds out where branches and tags point, where the operator itself cannot ask: over ssh.
func refs(ctx context.Context, flags *flag.FlagSet, args []string, told *outcome) error {
	var o remoteOptions
	var wanted list
	o.register(flags)
	flags.Var(&wanted, "ref", "a branch, or else a tag; repeat it for more")
	if err := flags.Parse(args); err != nil {
		return err
	}
	session, err := o.session(ctx)
	if err != nil {
		return explain(err)
	}
	defer session.Close()
	advertised, err := session.AdvertisedReferencesContext(ctx)
	if err != nil {
		return explain(err)
	}
	told.Refs = map[string]string{}
	for _, name := range wanted {
		for _, found := range []plumbing.Hash{
			advertised.References["refs/heads/"+name],
			advertised.Peeled["refs/tags/"+name],
			advertised.References["refs/tags/"+name],
		} {
			if !found.IsZero() {
				told.Refs[name] = found.String()
				break
			}
		}
	}
	fmt.Printf("%d of %d refs found\n", len(told.Refs), len(wanted))
	return nil
}
