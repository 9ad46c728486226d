package main

import (
	"encoding/json"
	"os"
	"path"
	"regexp"
	"strings"
)

// language makes a Dockerfile for projects that bring none: several stages, lock files honoured,
// a user that is not root, and nothing of the tools in the image that runs.
type language struct {
	name  string
	marks []string
	write func(root *os.Root, folder string) (string, error)
}

var languages = []language{
	{"go", []string{"go.mod"}, goDockerfile},
	{"node", []string{"package.json"}, nodeDockerfile},
	{"python", []string{"uv.lock", "requirements.txt", "pyproject.toml"}, pythonDockerfile},
}

func goDockerfile(root *os.Root, folder string) (string, error) {
	modules := ""
	if has(root, folder, "go.sum") {
		modules = "COPY go.mod go.sum ./\nRUN [\"go\", \"mod\", \"download\"]\n"
	}
	return `FROM golang AS go
WORKDIR ` + goCache + `

FROM go AS build
WORKDIR /src
` + modules + `COPY . .
ENV CGO_ENABLED=0 GOTOOLCHAIN=local
RUN --mount=type=cache,from=go,source=` + goCache + `,target=` + goCache + ` ` +
		execForm("go", "build", "-trimpath", "-buildvcs=false", "-gcflags=all=-dwarf=false",
			"-ldflags", "-s -w", "-o", "/app", ".") + `

FROM scratch
COPY --from=build /app /app
USER 65532:65532
ENTRYPOINT ["/app"]
`, nil
}

// goCache is where Go keeps what it compiled. Our base image brings the library there, compiled with
// the flags used here; mounted, it is read where it lies and what is added goes with the build.
const goCache = "/root/.cache/go-build"

// npm keeps its downloads in a folder that ends with the build: it is nobody's cache but this one's.
const npm = "RUN --mount=type=cache,target=/root/.npm "

func nodeDockerfile(root *os.Root, folder string) (string, error) {
	content, err := readBelow(root, path.Join(folder, "package.json"))
	if err != nil {
		return "", faultf("package.json: %s", err)
	}
	var project struct {
		Main    string            `json:"main"`
		Scripts map[string]string `json:"scripts"`
	}
	if err := json.Unmarshal(content, &project); err != nil {
		return "", faultf("package.json: %s", err)
	}
	files, install := "package.json ./", "install"
	if has(root, folder, "package-lock.json") {
		files, install = "package.json package-lock.json ./", "ci"
	}
	start := execForm("npm", "start")
	if project.Scripts["start"] == "" {
		main := project.Main
		if main == "" {
			main = "index.js"
		}
		if !has(root, folder, main) {
			return "", faultf("package.json: needs scripts.start or main to say what runs")
		}
		start = execForm("node", main)
	}
	steps := npm + execForm("npm", install, "--omit=dev") + "\nCOPY . .\n"
	if project.Scripts["build"] != "" {
		// What only the build needs is installed for it, and does not reach the image that runs.
		steps = npm + execForm("npm", install) + "\nCOPY . .\n" +
			"RUN " + execForm("npm", "run", "build") + "\n" +
			"RUN " + execForm("npm", "prune", "--omit=dev") + "\n"
	}
	return `FROM node AS build
WORKDIR /app
COPY ` + files + `
` + steps + `
FROM node
WORKDIR /app
ENV NODE_ENV=production HOME=/tmp
COPY --from=build /app /app
USER 65532:65532
CMD ` + start + `
`, nil
}

// uvVersion reads lock files of all versions before it.
const uvVersion = "0.13.9"

var procfileWeb = regexp.MustCompile(`(?m)^web:[ \t]*([^\r\n]+)`)

func pythonDockerfile(root *os.Root, folder string) (string, error) {
	start, err := pythonStart(root, folder)
	if err != nil {
		return "", err
	}
	var install string
	switch {
	case has(root, folder, "uv.lock"):
		install = `ENV UV_PYTHON_DOWNLOADS=never
RUN ["python3", "-m", "venv", "/uv"]
RUN ["/uv/bin/pip", "install", "--no-cache-dir", "uv==` + uvVersion + `"]
COPY pyproject.toml uv.lock ./
RUN ["/uv/bin/uv", "sync", "--frozen", "--no-dev", "--no-install-project", "--no-cache"]
`
	case has(root, folder, "requirements.txt"):
		install = `RUN ["python3", "-m", "venv", "/app/.venv"]
COPY requirements.txt ./
RUN ["/app/.venv/bin/pip", "install", "--no-cache-dir", "-r", "requirements.txt"]
`
	default:
		return "", faultf("pyproject.toml: needs a uv.lock or a requirements.txt beside it, so that " +
			"the same commit installs the same packages")
	}
	return `FROM python AS build
WORKDIR /app
` + install + `COPY . .

FROM python
WORKDIR /app
ENV PYTHONUNBUFFERED=1 PATH=/app/.venv/bin:/usr/local/bin:/usr/bin:/bin
COPY --from=build /app /app
USER 65532:65532
CMD ` + start + `
`, nil
}

func pythonStart(root *os.Root, folder string) (string, error) {
	if content, err := readBelow(root, path.Join(folder, "Procfile")); err == nil {
		if found := procfileWeb.FindSubmatch(content); found != nil {
			return execForm("sh", "-c", "exec "+strings.TrimSpace(string(found[1]))), nil
		}
	}
	for _, name := range []string{"main.py", "app.py"} {
		if has(root, folder, name) {
			return execForm("python3", name), nil
		}
	}
	return "", faultf("repository: a Procfile with a line `web:`, a main.py or an app.py must say " +
		"what runs")
}

// execForm writes a command so that no shell reads it, whatever is in it.
func execForm(command ...string) string {
	text, err := json.Marshal(command)
	if err != nil {
		panic(err) // strings are always JSON
	}
	return string(text)
}
