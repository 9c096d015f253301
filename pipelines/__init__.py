"""Several HTTP APIs in, clean partitioned Parquet out."""
