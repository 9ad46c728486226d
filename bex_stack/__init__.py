"""The program that describes a stack, and the `bex` command that runs it."""
