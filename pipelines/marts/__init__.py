"""Datasets derived from the committed datasets of the sources."""
