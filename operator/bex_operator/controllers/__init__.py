"""Thin shells around `plan`: observe, decide, apply, report."""
