"""Caddy: the one place that speaks to its admin API."""
