"""The measurements by their names, in the order in which they are made."""

from __future__ import annotations

from collections.abc import Callable

from .clients import clients
from .commands import oneshot, pipe
from .costs import history, secure_mode, users
from .latencies import latency, limits, underload
from .plan import Both, Found, Plan
from .throughput import broadcast, core, direct, group, on_disk

SCENARIOS: dict[str, Callable[[Plan, Both], Found]] = {
    "core": core,
    "direct": direct,
    "broadcast": broadcast,
    "latency": latency,
    "underload": underload,
    "disk": on_disk,
    "group": group,
    "history": history,
    "oneshot": oneshot,
    "pipe": pipe,
    "limits": limits,
    "secure": secure_mode,
    "clients": clients,
    "users": users,
}
