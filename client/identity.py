"""Who a user is at one broker: the credential that proves it, in a file of one's own.

    …/chatbroker/identities/127.0.0.1_5555/alice        {"credential": …, "session": …, "key": …}
    …/chatbroker/identities/127.0.0.1_5555/.alice.lock  held while alice is joined

``lock`` says which file was locked when ``session`` joined.  A copy of the folder has another one,
which does not tell whether that session is over.
``key`` is the secret key by which a secure broker knows the user; most have none.  ``spare`` is a
second one while nobody knows which of them the broker has admitted, and ``spare_for`` the public
key of the invitation by which it was handed over.

The file is written whole or not at all, and one that is there is never written over by a new
credential: who loses the credential loses the name.
"""

from __future__ import annotations

import fcntl
import json
import os
from pathlib import Path
from typing import NamedTuple

from ..command.files import make_private, read_regular, write_private
from ..command.folders import data_folder, file_name
from ..wire.errors import BadName
from ..wire.keys import key_text, parse_key
from ..wire.limits import ID_LENGTH
from ..wire.names import canonical_name
from .address import Address, parse_address
from .errors import IdentityError, NameRefused, UsageError

KEYS = ("key", "spare", "spare_for")
"""What the file has of keys, if they are not empty."""


class _Kept(NamedTuple):
    """What the file says."""

    credential: bytes
    session: bytes
    """Empty, if nobody has joined yet."""
    lock: str = ""
    """Which file was locked then; empty if that was not kept."""
    key: bytes = b""
    spare: bytes = b""
    spare_for: bytes = b""


class Identity:
    """A user at a broker, from `Identity.of`.  For `Client(…, identity=…)`."""

    def __init__(self, broker: str, name: str, path: Path, kept: _Kept) -> None:
        self.broker = broker
        self.name = name
        self.path = path
        self.credential = kept.credential
        """What proves that one is this user.  Keep it secret."""
        self.previous = kept.session
        """The id of the session that was joined last and is over, or empty: that of the process
        that had the lock before this one, or of a client of this one that was closed."""
        self.key = kept.key
        """The secret CURVE key by which a secure broker knows the user; empty for none."""
        self.spare = kept.spare
        """Another that it may know the user by: what became of it was not heard.  Mostly empty."""
        self.spare_for = kept.spare_for
        """The public key of the invitation by which that was handed over."""
        self._lock: int | None = None

    @classmethod
    def of(cls, broker: str, name: str) -> Identity:
        """The identity that is kept for *name* at *broker*; a new one, if there is none.

        Several processes that ask at once get the same.  Raises UsageError for an address
        that is none, NameRefused for a name that is none, IdentityError.
        """
        path = _path(broker, name)
        return cls(broker, path.name, path, _read(path) or _create(path))

    @classmethod
    def kept(cls, broker: str, name: str) -> Identity | None:
        """The identity that is kept for *name* at *broker*, if there is one.  Raises as `of`."""
        path = _path(broker, name)
        found = _read(path)
        return None if found is None else cls(broker, path.name, path, found)

    def by(self, key: bytes) -> Identity:
        """The same user, known by *key*; what is kept stays as it is."""
        kept = _Kept(self.credential, self.previous, key=key)
        return Identity(self.broker, self.name, self.path, kept)

    def is_of(self, name: str | None, address: Address) -> bool:
        """Whether it is that of *name* (in its canonical form) at the broker at *address*."""
        return self.name == name and parse_address(self.broker)[:2] == address[:2]

    @property
    def locked(self) -> bool:
        """Whether this process is the one that has joined, as `lock` found."""
        return self._lock is not None

    def lock(self) -> bool:
        """Takes the identity for this process, until it ends or calls `unlock`; False if
        another process has it.  Raises IdentityError."""
        if self._lock is not None:
            return True
        # A file of its own: the other one is replaced by `remember`, and a lock on what was
        # replaced keeps nobody out.  No name begins with a dot.
        path = self.path.with_name(f".{self.path.name}.lock")
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise _cannot("lock", path, error) from None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Whoever had the lock until now may have joined since the file was read.
            kept = _read(self.path) or _create(self.path)
        except BlockingIOError:
            os.close(descriptor)
            return False
        except OSError as error:
            os.close(descriptor)
            raise _cannot("lock", path, error) from None
        except IdentityError:
            os.close(descriptor)
            raise
        self.credential, self.previous, lock, self.key, self.spare, self.spare_for = kept
        if lock != _which(descriptor):
            self.previous = b""  # Of another lock, which may be held.
        self._lock = descriptor
        return True

    def unlock(self) -> None:
        """Lets others lock it."""
        if self._lock is not None:
            # Not only closed: a child that was forked meanwhile has it open as well.
            fcntl.flock(self._lock, fcntl.LOCK_UN)
            os.close(self._lock)
            self._lock = None

    def remember(self, session: bytes) -> None:
        """Notes the session that now joins, for the process after this one.

        `previous` stays what it was until that is over.  Raises IdentityError; UsageError without
        the lock."""
        if self._lock is None:
            raise UsageError("an identity must be locked before a session is remembered")
        keys = self.key, self.spare, self.spare_for
        _write(self.path, _Kept(self.credential, session, _which(self._lock), *keys))

    def take_key(self, fresh: bytes) -> bytes:
        """The secret key of this user: the one that is there, or *fresh*, which is kept then.

        Raises IdentityError; UsageError without the lock."""
        if self._lock is None:
            raise UsageError("an identity must be locked before it gets a key")
        if not self.key:
            self.keep_keys(fresh, self.spare, self.spare_for)
        return self.key

    def keep_keys(self, key: bytes, spare: bytes = b"", spare_for: bytes = b"") -> None:
        """Has these in the place of the secret keys that there were, both at once.  Raises as
        `take_key`."""
        if self._lock is None:
            raise UsageError("an identity must be locked before it gets a key")
        lock = _which(self._lock)
        _write(self.path, _Kept(self.credential, self.previous, lock, key, spare, spare_for))
        self.key, self.spare, self.spare_for = key, spare, spare_for


def folder_of(address: Address) -> Path:
    """Where what is known of the broker at *address* is kept."""
    return data_folder() / "identities" / file_name(address.host, address.port)


def _path(broker: str, name: str) -> Path:
    address = parse_address(broker)
    try:
        return folder_of(address) / canonical_name(name)
    except BadName as error:
        raise NameRefused(error.code.value, str(error)) from None


def _read(path: Path) -> _Kept | None:
    """What is kept at *path*; None if there is nothing.  Raises IdentityError."""
    try:
        text = read_regular(path)
    except (FileNotFoundError, NotADirectoryError):
        return None  # The latter is told when it is to be made.
    except OSError as error:
        words = f"cannot read the identity of {path.name!r} in {path}: {_reason(error)}"
        raise IdentityError(f"{words}; make the file readable for you") from None
    try:
        found = json.loads(text)
        keys = [found.get(which, "") for which in KEYS]
        kept = _Kept(
            bytes.fromhex(found["credential"]),
            bytes.fromhex(found["session"]),
            found.get("lock", ""),
            *[parse_key(key) if key else b"" for key in keys],
        )
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError):
        kept = _Kept(b"", b"")
    if len(kept.credential) != ID_LENGTH or len(kept.session) not in (0, ID_LENGTH):
        # Whoever made another in its place would take the name from its owner.
        raise IdentityError(
            f"the identity of {path.name!r} in {path} is broken; put a copy of it in its place, "
            "or remove it and choose another name"
        )
    return kept


def _create(path: Path) -> _Kept:
    """Makes the file, unless another process is first; what is kept then."""
    try:
        make_private(path.parent, data_folder())
    except OSError as error:
        raise _cannot("keep", path, error) from None
    _write(path, _Kept(os.urandom(ID_LENGTH), b""), replace=False)
    kept = _read(path)
    if kept is None:
        raise IdentityError(f"the identity of {path.name!r} in {path} was removed; try again")
    return kept


def _write(path: Path, kept: _Kept, *, replace: bool = True) -> None:
    """Has *kept* on disk.  Raises IdentityError."""
    found = {"credential": kept.credential.hex(), "session": kept.session.hex()}
    if kept.session:
        found["lock"] = kept.lock
    keys = zip(KEYS, kept[3:], strict=True)
    found |= {which: key_text(key) for which, key in keys if key}
    try:
        write_private(path, json.dumps(found) + "\n", replace=replace)
    except OSError as error:
        raise _cannot("keep", path, error) from None


def _which(descriptor: int) -> str:
    """Which file that is: another one than each copy of it, as nobody can set when a file was
    changed last, and the same one when its folder was moved.  The number of a device may change."""
    found = os.fstat(descriptor)
    return f"{found.st_ino}-{found.st_ctime_ns}"


def _reason(error: OSError) -> str:
    return error.strerror or str(error)


def _cannot(verb: str, path: Path, error: OSError) -> IdentityError:
    return IdentityError(
        f"cannot {verb} the identity in {path}: {_reason(error)}; "
        "set CHATBROKER_DATA to a folder that you can write to"
    )
