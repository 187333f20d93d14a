"""Files that are written whole or not at all, and files that only this user can have written."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import hmac
import importlib.util
import os
import stat
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO


def write_atomically(path: str | os.PathLike[str], content: bytes | str, *, mode: int = 0o666) -> None:
    """Write a file in one move: a reader sees the old file or the new one, never a part, whenever the writer dies.

    Text is written as UTF-8. The new file has the permissions `mode` without those that the process masks, as any new
    file, and is on the disk, under its name, when this returns. What a writer that was killed has left
    beside it, a hidden file that ends in `.partial`, is removed by the next one.

    Raises:
        OSError: the file cannot be written; what was there is untouched, and nothing is left behind.

    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_atomically(f"{folder}/note.txt", "all of it")
    ...     Path(f"{folder}/note.txt").read_text()
    'all of it'
    """
    with in_one_move(path, mode=mode) as file:
        file.write(content.encode() if isinstance(content, str) else content)


@contextlib.contextmanager
def in_one_move(path: str | os.PathLike[str], *, mode: int = 0o666) -> Iterator[IO[bytes]]:
    """A file to write into, as long as it takes: under its name once all of it is there, as `write_atomically` says.

    Raises:
        OSError: as `write_atomically`.
    """
    target, temporary = _target(path), None
    _sweep(target)
    try:
        with tempfile.NamedTemporaryFile(
            dir=target.parent, prefix=f".{target.name}.", suffix=_SUFFIX, delete=False
        ) as file:
            temporary = file.name
            _lock(file.fileno())
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, mode & ~_umask())
        os.replace(temporary, target)
        _sync(target.parent)
    except BaseException:
        if temporary:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
        raise


def check_writable(path: str | os.PathLike[str], *read: str | os.PathLike[str] | None) -> None:
    """Raise before long work rather than after it, where `write_atomically` could not or must not write a file.

    Args:
        path: what will be written.
        read: what is read for it, and is not to be written over.

    Raises:
        OSError: the folder is not there, cannot be written to, or the path is a folder, a device, a pipe or one of the
            files that are read.
    """
    target = _target(path)
    if target.resolve() in [Path(one).resolve() for one in read if one is not None]:
        raise FileExistsError(errno.EEXIST, "this is read here, expected another name to write to", str(path))
    if not target.parent.is_dir():
        raise FileNotFoundError(errno.ENOENT, "there is no such folder", str(target.parent))
    with tempfile.NamedTemporaryFile(dir=target.parent, prefix=f".{target.name}.", suffix=_SUFFIX):
        pass


_SUFFIX = ".partial"  # of a file that is being written, hidden beside its target
_YOUNG = 60  # seconds in which a file may not have been locked yet


def _sweep(target: Path) -> None:
    """Remove what writers of this file have left that were killed: their locks went with them."""
    with contextlib.suppress(OSError):
        for name in os.listdir(target.parent):
            middle = name.removeprefix(f".{target.name}.").removesuffix(_SUFFIX)
            if len(middle) == len(name) - len(target.name) - 2 - len(_SUFFIX) and "." not in middle:
                with contextlib.suppress(OSError):
                    _sweep_one(target.parent / name)


def _sweep_one(left: Path) -> None:
    """Remove a file, unless it is young or somebody has it locked."""
    if time.time() - left.stat().st_mtime < _YOUNG:
        return
    with left.open("rb") as file:
        _lock(file.fileno())
        os.unlink(left)


def _lock(descriptor: int) -> None:
    """Lock a file until it is closed, by whatever way; nothing happens where the system has no such locks.

    Raises:
        BlockingIOError: another has it.
    """
    if importlib.util.find_spec("fcntl"):
        import fcntl

        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise
        except OSError:  # a file system without locks
            return


def _target(path: str | os.PathLike[str]) -> Path:
    """A path at which there is a file, a link to one, or nothing."""
    target = Path(path)
    if target.is_dir():
        raise IsADirectoryError(errno.EISDIR, "is a folder, expected the name of a file", str(path))
    if target.exists() and not target.is_file():
        raise OSError(errno.EINVAL, "is a device or a pipe, expected the name of a file", str(path))
    return target


def _sync(folder: Path) -> None:
    """Let the names of a folder's files reach the disk, where the system has a way to."""
    if os.name != "posix":
        return
    with contextlib.suppress(OSError):  # some file systems have none
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _umask() -> int:
    """The process's mask for new files, which can only be read by setting it."""
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


_KEY = "key"  # of a private folder: what its files are signed with
_SIGNATURE = 32  # bytes


def read_private(path: Path) -> bytes | None:
    """What `write_private` wrote; None where there is none, or it is damaged, another's, or another file's content.

    Raises:
        OSError: the folder is not this user's alone.
    """
    if not path.parent.exists():
        return None
    key = _key_of(path.parent)
    try:
        content = _bytes_of(path)
    except FileNotFoundError:
        return None
    signature, content = content[:_SIGNATURE], content[_SIGNATURE:]
    return content if hmac.compare_digest(signature, _signature(key, path, content)) else None


def write_private(path: Path, content: bytes) -> None:
    """Write a file in one move into a folder of this user alone, made where there is none, signed with its key.

    The key is a file that only the user can read. On systems without POSIX's owners and modes these are not looked at.

    Raises:
        OSError: the file cannot be written, or the folder is not this user's alone.

    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_private(Path(folder, "cache", "entry"), b"content")
    ...     read_private(Path(folder, "cache", "entry"))
    b'content'
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    signature = _signature(_key_of(path.parent), path, content)
    write_atomically(path, signature + content, mode=0o600)


def _signature(key: bytes, path: Path, content: bytes) -> bytes:
    return hmac.new(key, path.name.encode() + b"\0" + content, hashlib.sha256).digest()


def _key_of(folder: Path) -> bytes:
    """The key of a folder, which is made where there is none."""
    _check_own(os.lstat(folder), folder)
    path = folder / _KEY
    if not os.path.lexists(path):
        with tempfile.NamedTemporaryFile(dir=folder, prefix=f".{_KEY}.") as file:
            file.write(os.urandom(_SIGNATURE))
            file.flush()
            with contextlib.suppress(FileExistsError):  # another process was faster: its key is the key
                os.link(file.name, path)
    key = _bytes_of(path)
    if len(key) != _SIGNATURE:
        raise OSError(errno.EINVAL, "is no key: delete it", str(path))
    return key


def _bytes_of(path: Path) -> bytes:
    """What is in a file that is this user's alone, and no link to another."""
    flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    with os.fdopen(os.open(path, flags), "rb") as file:
        _check_own(os.fstat(file.fileno()), path)
        return file.read()


def _check_own(status: os.stat_result, path: Path) -> None:
    if not hasattr(os, "geteuid"):
        return
    kept = stat.S_ISDIR(status.st_mode) or stat.S_ISREG(status.st_mode)
    if status.st_uid != os.geteuid() or status.st_mode & 0o077 or not kept:
        raise PermissionError(
            errno.EPERM, "others can read or write it, expected this user alone: chmod go= it", str(path)
        )
