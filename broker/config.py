"""What can be set about a broker, and what can keep it from starting."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from .allowance import DEFAULTS, Allowance

FOREVER = 1000 * 365 * 86400.0
"""Seconds that stand for no bound."""


class StartError(Exception):
    """The broker cannot start; the words say why and what to do, on one line."""


class Config(NamedTuple):
    """The settings of one broker.  Times are seconds."""

    host: str = "127.0.0.1"
    port: int = 5555
    """0 takes any free one, for both sockets."""
    pub_port: int | None = None
    """None: the one after ``port``."""
    heartbeat: float = 5.0
    lease: float = 15.0
    grace: float = 3.0
    claim_ttl: float = 30 * 86400.0
    """A claim of a name lapses when nobody held it for so long."""
    memory: bool = False
    """Keep nothing on disk."""
    data_dir: Path | None = None
    """None: the one of the port."""
    sync: str = "full"
    keep: float | None = 30 * 86400.0
    """Messages older than so long may go; None: none may for that."""
    secure: bool = False
    """Admit keys only, and encrypt; else everyone who can connect comes in."""
    insecure: bool = False
    """That everyone comes in is meant."""
    keep_bytes: int | None = 1_000_000_000
    """What messages may take on disk; None: any amount."""
    allowance: Allowance = DEFAULTS

    verbose: bool = False
    """Log who comes and goes."""
    log_format: str = "text"
    """Or ``json``."""

    metrics_host: str = "127.0.0.1"
    metrics_port: int | None = None
    """None: numbers are not served."""
    ready_file: Path | None = None
    """Where it is told that the broker is ready, if anywhere."""

    def pub_port_for(self, port: int) -> int:
        """The port to publish on when listening on *port*.  Raises StartError."""
        if self.pub_port is not None:
            return self.pub_port
        if self.port == 0:
            return 0
        if port == 65535:
            raise StartError("port 65535 has none after it for broadcasts; give --pub-port")
        return port + 1
