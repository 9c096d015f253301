"""Typed tables in, committed Parquet out."""
