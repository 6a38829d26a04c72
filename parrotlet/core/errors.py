"""The errors a person can cause, each told in one sentence: what happened, the value, what to do.

    ParrotletError                the command line prints it alone and exits with `status`
    ├── UsageError        (2)     a flag or setting that cannot work
    ├── DataError         (1)     a file, row or document that cannot be read or learned from
    ├── CheckpointError   (1)     a checkpoint that is missing, damaged or from elsewhere
    │   └── FormatError   (1)     one of a version that this code does not read
    ├── RunError          (1)     a run directory that is taken, misnamed or unwritable
    ├── TrainingError     (1)     training that cannot go on: no finite loss, no memory
    └── ToolError         (1)     a tool call that is refused or fails; a model sees it as text

Our own invariants are asserted instead; an AssertionError is always a bug of ours.
"""

from __future__ import annotations


class ParrotletError(Exception):
    """Base of every error meant for a person; `status` is the exit status of the command line."""

    status = 1


class UsageError(ParrotletError):
    """A flag, setting or combination of them that cannot work."""

    status = 2


class DataError(ParrotletError):
    """A file, row or document that cannot be read or learned from."""


class CheckpointError(ParrotletError):
    """A checkpoint that is missing, damaged, of another version or not a checkpoint at all."""


class FormatError(CheckpointError):
    """A checkpoint of a version that this code does not read; it is whole, and left alone."""


class RunError(ParrotletError):
    """A run directory that is in use, has an unusable name or cannot be written."""


class TrainingError(ParrotletError):
    """Training that cannot go on."""


class ToolError(ParrotletError):
    """A tool call that is refused or fails."""
