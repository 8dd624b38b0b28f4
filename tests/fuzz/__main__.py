"""``python -m tests.fuzz TARGET FILE…`` replays; with ``--seconds`` instead it fuzzes.

Fuzzing needs atheris: ``make fuzz`` installs it.
"""

from __future__ import annotations

import argparse
import random
import subprocess
import sys
from hashlib import sha1
from pathlib import Path

FOUND = Path("build") / "fuzz"
MOST_BYTES = 1024
"""Of an input: enough for a script of all its steps."""


def replay(name: str, files: list[str]) -> None:
    from .targets import TARGETS

    for file in files:
        TARGETS[name](Path(file).read_bytes())
        print(f"{file}: well")


def keep(name: str) -> None:
    """Makes the corpus anew of what it holds and what was found."""
    from .keeping import worth_keeping
    from .targets import CORPUS, TARGETS

    folder = CORPUS / name
    folder.mkdir(parents=True, exist_ok=True)
    files = [*folder.iterdir()]
    found = [path.read_bytes() for path in [*files, *(FOUND / name / "corpus").glob("*")]]
    kept = worth_keeping(TARGETS[name], found)
    for path in files:
        path.unlink()
    for data in kept:
        (folder / sha1(data).hexdigest()[:16]).write_bytes(data)
    print(f"{folder}: {len(kept)} files, {sum(map(len, kept))} bytes")


def fuzz(name: str, options: list[str]) -> None:
    """Hands over to libFuzzer, which ends the process."""
    import atheris

    with atheris.instrument_imports(include=["chatbroker"]):
        from .targets import CORPUS, TARGETS, seeds
    folder = FOUND / name
    (folder / "corpus").mkdir(parents=True, exist_ok=True)
    (folder / "seeds").mkdir(exist_ok=True)
    (CORPUS / name).mkdir(parents=True, exist_ok=True)
    for data in seeds(name):
        (folder / "seeds" / sha1(data).hexdigest()).write_bytes(data)
    sources = [str(folder / "corpus"), str(folder / "seeds"), str(CORPUS / name)]
    fixed = [f"-artifact_prefix={folder}/", "-rss_limit_mb=2048", "-timeout=20", "-len_control=10"]
    atheris.Setup(["fuzz", *fixed, f"-max_len={MOST_BYTES}", *options, *sources], TARGETS[name])
    atheris.Fuzz()


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("target", help="wire, core, client, words, tail, or all to fuzz each")
    parser.add_argument("files", nargs="*", help="inputs to replay")
    parser.add_argument("--seconds", type=int, default=0, help="how long to fuzz")
    parser.add_argument("--seed", type=int, default=0, help="0: another each time")
    parser.add_argument("--keep", action="store_true", help="add what was found to the corpus")
    given = parser.parse_args()
    if given.files:
        replay(given.target, given.files)
        return 0
    if given.target == "all":
        from .targets import TARGETS

        command = [sys.executable, "-m", "tests.fuzz", *sys.argv[2:]]
        runs = [subprocess.run([*command[:3], name, *command[3:]]) for name in TARGETS]
        return max(run.returncode for run in runs)
    if given.keep:
        keep(given.target)
        return 0
    seed = given.seed or random.randrange(1, 2**31)
    print(f"{given.target}: SEED={seed}; what it finds is in {FOUND / given.target}")
    print(f"a crash is replayed by: {sys.executable} -m tests.fuzz {given.target} FILE", flush=True)
    options = [f"-max_total_time={given.seconds}", f"-seed={seed}", "-print_final_stats=1"]
    fuzz(given.target, options)
    return 0


if __name__ == "__main__":
    sys.exit(main())
