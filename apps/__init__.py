"""The apps: one module each, typed data only. Every App found here is deployed by the stacks whose
`bex:apps` names it."""
