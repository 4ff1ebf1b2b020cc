"""Errors that say what happened, whose turn it is, and what to run next."""

from typing import Literal

Turn = Literal["vendor", "credentials", "data", "config", "us", "you"]


class LarderError(Exception):
    """An error a person can act on.

    `cause` is a sentence, `turn` says who can mend it, `next_command` is what to run afterwards.
    """

    def __init__(self, cause: str, *, turn: Turn, next_command: str) -> None:
        super().__init__(cause)
        self.cause = cause
        self.turn: Turn = turn
        self.next_command = next_command

    def __str__(self) -> str:
        return f"{self.cause} — turn: {self.turn} — next: {self.next_command}"


class VendorError(LarderError):
    """The vendor did not answer, or answered with something that cannot be used. Trying again later may help."""

    def __init__(self, cause: str, *, next_command: str) -> None:
        super().__init__(cause, turn="vendor", next_command=next_command)


class OutageError(VendorError):
    """The vendor itself is down or failing, whoever asks: unreachable, broken off, too slow, HTTP 500 and above."""


class ThrottledError(VendorError):
    """The vendor wants fewer requests than there are to make."""


class ShapeError(VendorError):
    """The vendor answered, and not in the shape that is known of it."""


class PutOffError(LarderError):
    """The run's time is over. No fault of anybody's: what was not read is read in the next run."""

    def __init__(self, next_command: str) -> None:
        super().__init__(
            "the run's time was over; the rest is read in the next one", turn="us", next_command=next_command
        )


class CredentialsError(LarderError):
    """The vendor refused the credentials."""

    def __init__(self, cause: str, *, next_command: str) -> None:
        super().__init__(cause, turn="credentials", next_command=next_command)


class ConfigError(LarderError):
    """The integration's or the source's own settings are wrong."""

    def __init__(self, cause: str, *, next_command: str) -> None:
        super().__init__(cause, turn="config", next_command=next_command)


class DataError(LarderError):
    """Bytes that were stored or received do not hold what they should."""

    def __init__(self, cause: str, *, next_command: str) -> None:
        super().__init__(cause, turn="data", next_command=next_command)
