"""Spooled pages in, typed tables out; runs in worker processes."""
