"""What can go wrong, one class for each kind, each saying what to do next.

The class name is the kind that reports, logs and exit codes show. Every class
takes `(message, hint)` and nothing else, so that an error raised in a worker
process survives its journey to the parent.
"""

from __future__ import annotations

EXIT_OK = 0
EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_INCOMPLETE = 3
EXIT_BUSY = 4
EXIT_INTERRUPTED = 130


class PipelineError(Exception):
    """Something went wrong that a user can act on: what, where, and the way out."""

    exit_code = EXIT_FAILED
    curl = ""
    """The line that repeats the request that failed, secrets hidden; empty where none did."""
    lasting = False
    """Whether the API would answer the same request so again, as far as one can tell."""
    page: int | None = None
    """Which page of a batch a worker could not read, counted from 0; None where it is not one page."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message, hint)

    @property
    def kind(self) -> str:
        """The name that reports and exit messages show."""
        return type(self).__name__

    @property
    def message(self) -> str:
        """What happened and where."""
        return str(self.args[0])

    @property
    def hint(self) -> str:
        """What to do next; may be empty."""
        return str(self.args[1])

    def __str__(self) -> str:
        told = f"{self.message}\n  hint: {self.hint}" if self.hint else self.message
        return f"{told}\n  repeat: {self.curl}" if self.curl else told


class ConfigError(PipelineError):
    """The configuration says something that cannot be done."""

    exit_code = EXIT_USAGE


class AuthError(PipelineError):
    """The API refused the credentials, or they could not be renewed."""


class RateLimited(PipelineError):
    """The API asked for more patience than the run has."""


class HttpError(PipelineError):
    """No usable answer: connection, protocol or status."""


class Timeout(PipelineError):
    """No complete answer within the deadline."""


class Truncated(PipelineError):
    """The answer ended before it was whole."""


class DecodeError(PipelineError):
    """The answer is not the format it should be."""

    lasting = True


class BodyTooLarge(PipelineError):
    """The answer is larger than `max_response`."""


class PaginationLoop(PipelineError):
    """The API keeps naming the same page."""


class OriginError(PipelineError):
    """A link leads to an origin that the configuration does not allow."""


class RedirectRefused(PipelineError):
    """A redirect leads where it must not be followed."""


class TlsError(PipelineError):
    """The server's certificate could not be verified."""


class RecordsMissing(PipelineError):
    """The answer has no list of records where `records` points."""

    lasting = True


class ApiError(PipelineError):
    """The answer is an error by one of the rules in `errors`."""


class SchemaError(PipelineError):
    """Columns that cannot stand side by side."""


class TypeConflict(PipelineError):
    """A value does not fit its column's type."""


class KeyMissing(PipelineError):
    """A record has no value for its primary key."""


class CursorError(PipelineError):
    """A record has no usable value for the incremental cursor."""


class OrderViolation(PipelineError):
    """Records do not come in the order that `incremental.ordered` declares."""


class StateTooLarge(PipelineError):
    """More rows share one cursor value than a commit can remember."""


class Drift(PipelineError):
    """Rows moved between pages while they were being read."""


class PartitionError(PipelineError):
    """A value cannot name a partition."""


class TransformError(PipelineError):
    """A transform or mart function failed or returned something else than a frame."""


class ExpectationFailed(PipelineError):
    """The data do not meet an `expect` check of severity fail."""


class Busy(PipelineError):
    """Another run holds the lock of this source."""

    exit_code = EXIT_BUSY


class Conflict(PipelineError):
    """Another run committed first; nothing of this one was published."""

    exit_code = EXIT_BUSY


class StoreError(PipelineError):
    """The data folder could not be read or written."""


class Defect(PipelineError):
    """Something failed as nobody foresaw: a mistake in the code, not in what it was given."""

    @staticmethod
    def of(error: Exception, where: str) -> Defect:
        """*error*, which nobody foresaw, as a kind that reports know."""
        return Defect(f"{where}: {type(error).__name__}: {error}", "nothing of it is committed; please report the log")


class WorkerDied(PipelineError):
    """A worker process ended in the middle of a batch, twice, or none could be started."""


class Interrupted(PipelineError):
    """The run was asked to stop."""

    exit_code = EXIT_INTERRUPTED
