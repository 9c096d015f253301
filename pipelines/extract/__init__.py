"""Threads that wait for the network: requests in, spooled pages out."""
