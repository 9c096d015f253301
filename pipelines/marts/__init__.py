"""Datasets derived from other datasets."""
