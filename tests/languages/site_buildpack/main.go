// Command site is a buildpack, and the server that it puts into images: it wants repositories with
// a file greeting.txt, and answers what stands there and how often the App was built.
package main

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

const (
	greeting = "greeting.txt"
	counted  = "count"
	// unwanted is the exit code that says: not for this buildpack.
	unwanted = 100
)

func main() {
	var err error
	switch filepath.Base(os.Args[0]) {
	case "detect":
		if _, missing := os.Stat(greeting); missing != nil {
			fmt.Println("there is no " + greeting)
			os.Exit(unwanted)
		}
	case "build":
		err = build(os.Getenv("CNB_LAYERS_DIR"))
	default:
		err = serve()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// hold takes as long as the repository says, in seconds.
func hold() {
	text, _ := os.ReadFile("hold.txt")
	seconds, _ := strconv.Atoi(strings.TrimSpace(string(text)))
	time.Sleep(time.Duration(seconds) * time.Second)
}

func build(layers string) error {
	if err := findNoCredential(); err != nil {
		return err
	}
	hold()
	text, err := os.ReadFile(greeting)
	if err != nil {
		return err
	}
	if strings.TrimSpace(string(text)) == "" {
		return fmt.Errorf("%s is empty", greeting)
	}
	kept, server := filepath.Join(layers, "kept"), filepath.Join(layers, "server")
	for _, each := range []string{kept, server} {
		if err := os.MkdirAll(each, 0o755); err != nil {
			return err
		}
	}
	before, _ := os.ReadFile(filepath.Join(kept, counted))
	times, _ := strconv.Atoi(string(before))
	count := strconv.Itoa(times + 1)
	program := filepath.Join(server, "site")
	if err := copyProgram(program); err != nil {
		return err
	}
	for name, content := range map[string]string{
		filepath.Join(kept, counted):         count,
		filepath.Join(server, counted):       count,
		filepath.Join(layers, "kept.toml"):   "[types]\ncache = true\n",
		filepath.Join(layers, "server.toml"): "[types]\nlaunch = true\n",
		filepath.Join(layers, "launch.toml"): fmt.Sprintf(
			"[[processes]]\ntype = \"web\"\ncommand = [%q]\ndefault = true\n", program),
	} {
		if err := os.WriteFile(name, []byte(content), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// findNoCredential fails where one is: builds run what repositories say.
func findNoCredential() error {
	for _, each := range os.Environ() {
		if strings.Contains(strings.ToLower(each), "bearer") {
			return fmt.Errorf("a credential is in the environment: %.12s", each)
		}
	}
	for _, folder := range []string{"/push", "/pull", "/clone", "/var/run/secrets"} {
		if _, err := os.Stat(folder); err == nil {
			return fmt.Errorf("a credential lies at %s", folder)
		}
	}
	return nil
}

func copyProgram(into string) error {
	from, err := os.Open("/proc/self/exe")
	if err != nil {
		return err
	}
	defer from.Close()
	to, err := os.OpenFile(into, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o755)
	if err != nil {
		return err
	}
	defer to.Close()
	_, err = io.Copy(to, from)
	return err
}

func serve() error {
	text, err := os.ReadFile(greeting)
	if err != nil {
		return err
	}
	program, err := os.Executable()
	if err != nil {
		return err
	}
	count, err := os.ReadFile(filepath.Join(filepath.Dir(program), counted))
	if err != nil {
		return err
	}
	answer := fmt.Sprintf("%s, build %s", strings.TrimSpace(string(text)), count)
	handler := func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, answer) }
	return http.ListenAndServe(":"+os.Getenv("PORT"), http.HandlerFunc(handler))
}
