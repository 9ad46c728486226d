"""The embedded cluster as a skilled person would script it: no supervisor, no state, no program.

Uses nothing of bex but its binaries. `python -m bench.by_hand up|add|down` (see __main__).
"""
