"""`python -m flows`: all sources in one Prefect flow run."""

from flows.command import main

if __name__ == "__main__":
    main()
