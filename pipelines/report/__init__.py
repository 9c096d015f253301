"""What a run did: as a value, a table, an explanation and a page."""
