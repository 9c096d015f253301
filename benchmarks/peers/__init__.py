"""What a user would pick today: one script each, run as `python -m benchmarks.peers.NAME BASE_URL FOLDER WORKLOAD`."""
