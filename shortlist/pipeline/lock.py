"""One writer at a time: a lock that the kernel gives back when its owner dies."""

from __future__ import annotations

import fcntl
import os
from contextlib import suppress
from pathlib import Path

from shortlist.errors import IndexFolderError, IndexWriteError
from shortlist.pipeline.layout import LOCK


class WriterLock:
    """Held from its making until `release`, by one object in one process.

    The file holds the owner's process number for the message to others. What counts is the lock
    that the system keeps on it, so the file that a killed process leaves is nobody's, and the next
    writer takes it over.

    Raises:
        IndexFolderError: somebody else is writing; the process is named.
        IndexWriteError: the folder cannot be written to.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / LOCK
        try:
            self._descriptor = self._acquired(folder)
        except OSError as error:
            raise IndexWriteError(
                f"cannot write the index at {folder}: {error.strerror or error}"
            ) from error
        with suppress(OSError):  # on a full disk the others do not learn who it is
            os.ftruncate(self._descriptor, 0)
            os.write(self._descriptor, f"{os.getpid()}\n".encode())

    def _acquired(self, folder: Path) -> int:
        while True:
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o666)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                # The last owner may have removed the file after it was opened here
                if os.path.samestat(os.fstat(descriptor), self._path.stat()):
                    return descriptor
            except FileNotFoundError:
                pass
            except BlockingIOError:
                owner = os.read(descriptor, 32).decode("ascii", "replace").strip()
                os.close(descriptor)
                raise IndexFolderError(
                    f"{folder} is being written by process {owner or '(unknown)'}; "
                    "wait until it has ended"
                ) from None
            except BaseException:
                os.close(descriptor)
                raise
            os.close(descriptor)

    def moved_to(self, folder: Path) -> None:
        """Say that the folder has another name now."""
        self._path = folder / LOCK

    def release(self) -> None:
        """Let others write. A second call does nothing."""
        if self._descriptor < 0:
            return
        try:
            # Removed while it is still locked: whoever has it open sees that it is gone
            if os.path.samestat(os.fstat(self._descriptor), self._path.stat()):
                self._path.unlink()
        except OSError:
            pass
        finally:
            os.close(self._descriptor)
            self._descriptor = -1
