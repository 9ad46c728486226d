"""Says who answers; for stacks that reach docker.io."""

from bex_operator.api import App

whoami = App(name="whoami", image="traefik/whoami", port=80, host="whoami.localhost")
