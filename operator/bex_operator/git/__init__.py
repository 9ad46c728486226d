"""The seam to git servers."""
