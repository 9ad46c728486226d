"""The same server as `hello`, built from git: every push to its repository becomes a release."""

from bex_operator.api import App

hello_git = App(
    name="hello-git",
    # This host serves examples/hello-go there (`bex:repositories` in Pulumi.embedded.yaml).
    repo="https://10.90.0.1:9443/hello-go.git",
    port=8080,
    host="hello-git.localhost",
    health_check_path="/healthz",
)
