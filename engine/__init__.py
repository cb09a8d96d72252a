"""Placeholder header, replaced as the package grows."""
