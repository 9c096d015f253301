"""A snapshot of a dataset as a table of another format, for engines that want one."""
