"""Registries of images, asked for one thing: which digest a tag means now."""
