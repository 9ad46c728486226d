"""The example server built from git: copy this to apps/ (README, "Deploy from git")."""

from bex_operator.api import App

hello_git = App(
    name="hello-git",
    # What `bex repos serve hello-go examples/hello-go` prints.
    repo="https://10.90.0.1:9443/hello-go.git",
    port=8080,
    host="hello-git.localhost",
    health_check_path="/healthz",
)
