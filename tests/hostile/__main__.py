"""Carries out all attacks, *HOSTILE_SCALE* times as large, and writes their figures as a table."""

from __future__ import annotations

import os
import sys

from .attacks import ATTACKS
from .stage import HEADER, Stage


def main() -> None:
    scale = int(os.environ.get("HOSTILE_SCALE") or 5)
    only = sys.argv[1:]
    print(HEADER, flush=True)
    for attack, setting in ATTACKS.items():
        if only and attack.__name__ not in only:
            continue
        stage = Stage(scale, *setting)
        try:
            print(stage.run(attack).row, flush=True)
        finally:
            stage.close()


if __name__ == "__main__":
    main()
