"""From YAML and settings to a checked project, or one error that lists all that is wrong."""
