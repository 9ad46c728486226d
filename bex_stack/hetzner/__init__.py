"""Guard rails of stacks at Hetzner: what is asked before anything is made, and before it goes.

`cloud` is the only module that talks to Hetzner; its errors stop there. `inventory`, `preflight`,
`costs`, `leaks` and `draining` decide, and do no input or output.
"""
