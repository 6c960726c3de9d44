"""The error tree. The type of an error says what to do next, its words what happened and what to do about it.

::

    BrazeEtlError
    ├── UsageError             exit 2   the caller's mistake: options, paths
    │   └── ConfigError        exit 2   the configuration's, with line numbers
    ├── LeaseHeldError         exit 11  another run is at work
    ├── FatalError             exit 1   nothing further can be done in this run
    │   ├── StoreError                  an object store: no rights, no bucket, no network
    │   ├── SourceError                 the source holds nothing, or is not the one that the ledger knows
    │   ├── StateError                  the ledger: can't be read or written
    │   │   └── AbandonedError          (a StoreError, too) no answer was waited for: the run has to stop
    │   ├── QuarantineStopError         more was set aside than `quarantine.stop_at`
    │   ├── DeliveryError               Amplitude refused the request, or failed for too long
    │   │   └── KeyRefusedError         Amplitude, or a proxy before it, refused the key
    │   └── ReadError                   what Amplitude holds can't be read
    │       └── NotLoadedError          it can't be read yet
    └── FileError                       one file's trouble; the run goes on
        ├── UnreadableFileError         not Avro, or a header nobody can read
        ├── SourceGoneError             deleted or replaced between listing and reading
        └── FileUnavailableError        the store's trouble, not the file's: it stays due
            ├── AccessDeniedError       the rights of this job do not reach it
            ├── FileReplacedError       another content since it was listed
            └── TooSlowError            it did not come in time
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from braze_etl.quoting import masked

if TYPE_CHECKING:
    from datetime import datetime

    from braze_etl.engine.report import RunReport


class BrazeEtlError(Exception):
    """What went wrong, and the remedy: one sentence each, for the person who must act."""

    exit_code = 1
    report: RunReport | None = None
    """What the run had done that ended with it; None where it was no run's."""

    def __init__(self, message: str, *, remedy: str = "") -> None:
        # Words of libraries stand in it, which quote addresses: here all of them pass.
        self.message = masked(message)
        self.remedy = masked(remedy)
        super().__init__(self.message)

    def as_dict(self) -> dict[str, str]:
        """The error for machines: its type, what happened, and what to do."""
        return {"type": type(self).__name__, "message": self.message, "remedy": self.remedy}

    def __reduce__(self) -> tuple[object, ...]:
        # Errors travel from worker processes; the default would lose the remedy.
        return (_restore, (type(self), self.message, self.remedy), self.__dict__)


def _restore(kind: type[BrazeEtlError], message: str, remedy: str) -> BrazeEtlError:
    error = kind.__new__(kind, message)
    BrazeEtlError.__init__(error, message, remedy=remedy)
    return error


class UsageError(BrazeEtlError):
    """Bad options or arguments; nothing was touched."""

    exit_code = 2


class ConfigError(UsageError):
    """A configuration that can't be used; the message names each mistake with its line."""


class LeaseHeldError(BrazeEtlError):
    """Another run holds the lease of this ledger."""

    exit_code = 11


class FatalError(BrazeEtlError):
    """Nothing further can be done in this run; everything undelivered stays open."""


class StoreError(FatalError):
    """An object store (the source, the quarantine) can't be listed, read or written."""


class SourceError(FatalError):
    """The source can be listed, and is not what the ledger has delivered from: a person has to look."""


class StateError(FatalError):
    """The ledger can't be read or written."""


class AbandonedError(StoreError, StateError):
    """An object store, perhaps that of the ledger, was not waited for any longer: the run has to stop."""


class QuarantineStopError(FatalError):
    """More of a run was set aside than `quarantine.stop_at`: nothing is sent until a person has looked."""


class DeliveryError(FatalError):
    """Amplitude refused the key or the request, or answered nothing but failures for too long."""


class KeyRefusedError(DeliveryError):
    """The key is not good: nothing is delivered, or read, until somebody changes it."""


class ReadError(FatalError):
    """What Amplitude holds can't be read: refused, failing for too long, or more than may be downloaded."""


class NotLoadedError(ReadError):
    """Amplitude has not exported the hours from *since* on yet: nothing is known of what they hold."""

    def __init__(self, message: str, *, remedy: str = "", since: datetime) -> None:
        super().__init__(message, remedy=remedy)
        self.since = since


class FileError(BrazeEtlError):
    """One file can't be read, for the reason that these words tell; the run goes on."""


class UnreadableFileError(FileError):
    """Not an Avro object container, or a header that nobody can read."""


class SourceGoneError(FileError):
    """The object was deleted or replaced between listing and reading."""


class FileUnavailableError(FileError):
    """The store did not give this file as it was listed: it stays due, for nothing is known of itself."""

    kind: ClassVar[str] = "not_as_listed"


class AccessDeniedError(FileUnavailableError):
    """The rights of this job do not reach this file."""

    kind = "access_denied"


class FileReplacedError(FileUnavailableError):
    """The file has another content since it was listed: the next run reads that."""

    kind = "replaced"


class TooSlowError(FileUnavailableError):
    """The store takes too long over the file, whatever it sends meanwhile."""

    kind = "too_slow"
