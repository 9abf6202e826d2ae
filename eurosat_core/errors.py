"""Errors whose message is a sentence for the person at the screen.

Every `LabError` says what was wrong and what to do about it, so pages and the command line can show
`str(error)` as it is. Anything else that is raised is a bug, and is logged with its traceback.
"""


class LabError(Exception):
    """Base of all errors that a participant may see."""


class ConfigError(LabError):
    """A setting that cannot be used."""


class DataError(LabError):
    """Tiles that cannot be found or read."""


class TrainingError(LabError):
    """A run that cannot go on: out of memory, a loss that is no number, a device that vanished."""


class RunError(LabError):
    """A stored run that is missing, damaged, or not the asker's."""


class TraceError(LabError):
    """A profiler trace that cannot be read: not one, damaged, cut off, or too large."""
