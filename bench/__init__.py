"""Measures bex against what a person would do by hand; `python -m bench`."""
