"""A tiny HTTP server built from `examples/hello-go`."""

from bex_operator.api import App

hello = App(
    name="hello",
    image="localhost:5050/bex/hello-go:1",
    port=8080,
    replicas=2,
    host="hello.localhost",
    health_check_path="/healthz",
)
