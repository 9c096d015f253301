"""The only Python that knows an API: functions named by `transform:`."""
