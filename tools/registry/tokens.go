package main

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/distribution/distribution/v3/registry/auth"
)

const minKeyBytes = 32

// tokens lets requests do what a token says: a JWT signed with a key that only this registry and
// the issuer have (HS256). Source: distribution's token specification, whose claims it reads.
type tokens struct{ key []byte }

type claims struct {
	Expires int64   `json:"exp"`
	Access  []grant `json:"access"`
}

type grant struct {
	Type string `json:"type"`
	// Name is a repository, or all below a folder if it ends with `/*`.
	Name    string   `json:"name"`
	Actions []string `json:"actions"`
}

type refused struct{ reason string }

func (r refused) Error() string { return r.reason }

// SetHeaders names no issuer: tokens are handed out, not asked for.
func (r refused) SetHeaders(_ *http.Request, w http.ResponseWriter) {
	w.Header().Set("WWW-Authenticate", `Bearer realm="https://tokens.invalid",service="bex"`)
}

func init() {
	err := auth.Register("bex", func(options map[string]any) (auth.AccessController, error) {
		key, _ := options["key"].([]byte)
		return &tokens{key: key}, nil
	})
	if err != nil {
		panic(err)
	}
}

func readKey(path string) ([]byte, error) {
	key, err := os.ReadFile(path)
	if err == nil && len(key) < minKeyBytes {
		err = fmt.Errorf("%s holds less than %d bytes", path, minKeyBytes)
	}
	return key, err
}

// Authorized grants what the request wants, or says why not.
func (t *tokens) Authorized(r *http.Request, wanted ...auth.Access) (*auth.Grant, error) {
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return nil, refused{"a token is needed"}
	}
	found, err := t.read(token)
	if err != nil {
		return nil, refused{err.Error()}
	}
	for _, each := range wanted {
		if !found.allow(each) {
			return nil, refused{fmt.Sprintf("the token does not allow %s of %s", each.Action, each.Name)}
		}
	}
	return &auth.Grant{User: auth.UserInfo{Name: "build"}}, nil
}

func (t *tokens) read(token string) (*claims, error) {
	signed, signature, _ := cutLast(token, ".")
	header, payload, _ := strings.Cut(signed, ".")
	mac := hmac.New(sha256.New, t.key)
	mac.Write([]byte(signed))
	given, err := base64.RawURLEncoding.DecodeString(signature)
	if err != nil || !hmac.Equal(given, mac.Sum(nil)) {
		return nil, errors.New("the token was not issued for this registry")
	}
	var kind struct {
		Algorithm string `json:"alg"`
	}
	var found claims
	if err := decode(header, &kind); err != nil || kind.Algorithm != "HS256" {
		return nil, errors.New("the token is of an unknown kind")
	}
	if err := decode(payload, &found); err != nil {
		return nil, errors.New("the token cannot be read")
	}
	if time.Now().Unix() >= found.Expires {
		return nil, errors.New("the token has expired")
	}
	return &found, nil
}

func (c *claims) allow(wanted auth.Access) bool {
	return slices.ContainsFunc(c.Access, func(given grant) bool {
		below, isFolder := strings.CutSuffix(given.Name, "*")
		named := given.Name == wanted.Name
		if isFolder && strings.HasSuffix(below, "/") {
			named = strings.HasPrefix(wanted.Name, below)
		}
		return named && given.Type == wanted.Type && slices.Contains(given.Actions, wanted.Action)
	})
}

func decode(text string, into any) error {
	content, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil {
		return err
	}
	return json.Unmarshal(content, into)
}

func cutLast(text, separator string) (before, after string, found bool) {
	at := strings.LastIndex(text, separator)
	if at < 0 {
		return text, "", false
	}
	return text[:at], text[at+len(separator):], true
}
