"""Every error that shortlist raises on purpose, as one small tree.

::

    ShortlistError                 what `except` should name to catch them all
    ├── UsageError                 an argument that cannot work: top_k=0, an empty query
    ├── DataError                  a file or text that cannot be read as what it should be
    ├── IndexFolderError           not an index, or one that must not be used as asked
    │   ├── DamagedIndexError      an index whose files are not what its manifest says
    │   └── IndexWriteError        an index that could not be written: a full disk, no permission
    ├── ModelError                 a model that is missing, damaged or of an unsupported kind
    │   └── ExportError            a model that could not be exported to ONNX or kept in the cache
    │       └── PrecisionError     a model that loses too much in the precision asked for
    ├── ServerError                a search server that cannot be reached, or that refused
    └── MissingExtraError          an optional dependency that is not installed

A message says what was given, what was expected, and what to do. `exit_code` is what the command
line ends with: 2 where the user can put it right by asking differently, 1 where something failed.
"""

from __future__ import annotations


class ShortlistError(Exception):
    """Base of all errors raised on purpose by shortlist."""

    exit_code = 1


class UsageError(ShortlistError, ValueError):
    """An argument that cannot work."""

    exit_code = 2


class DataError(ShortlistError, ValueError):
    """Input that cannot be read as what it should be; names the file and the line where it can."""

    exit_code = 2


class IndexFolderError(ShortlistError):
    """A folder that is not an index, or an index that must not be used as asked."""

    exit_code = 2


class DamagedIndexError(IndexFolderError):
    """An index whose files do not match its manifest."""

    exit_code = 1


class IndexWriteError(IndexFolderError):
    """An index could not be written; what was there before is still there."""

    exit_code = 1


class ModelError(ShortlistError):
    """A model that is missing, damaged, or of a kind that cannot be run."""

    exit_code = 2


class ExportError(ModelError):
    """A model could not be exported to ONNX, or the export could not be kept."""

    exit_code = 1


class PrecisionError(ExportError):
    """A model that would lose more in a precision than is allowed; another one works."""

    exit_code = 2


class ServerError(ShortlistError):
    """A search server cannot be reached, or answered with an error."""

    exit_code = 1


class MissingExtraError(ShortlistError, ImportError):
    """An optional dependency is not installed; the message is the command that installs it."""

    exit_code = 2
