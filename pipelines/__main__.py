"""`python -m pipelines` is `threadmill`."""

from pipelines.cli import main

if __name__ == "__main__":
    main()
