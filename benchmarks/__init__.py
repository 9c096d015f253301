"""Threadmill beside what people use today: the same pages, the same rows, whole processes."""
