"""Who runs: Threadmill and what a user would pick instead, each as a command of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import venv
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.peers.workload import ENDPOINTS, table

ROOT = Path(__file__).resolve().parent.parent
HERE = ROOT / "benchmarks"
EVERY = tuple(ENDPOINTS)


@dataclass(frozen=True)
class Contender:
    """One way to do the work: `module` of the peers, or Threadmill itself where there is none.

    `output` is where a table's files lie, below the folder that a run is given.
    """

    name: str
    title: str
    module: str = ""
    output: str = "{table}.parquet"
    python: str = sys.executable
    env: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)
    """Files that lie in the working folder beforehand: name there, name beside the peers."""
    workloads: tuple[str, ...] = EVERY
    flow: bool = False
    """Run by Prefect."""
    rounds: Mapping[str, int] = field(default_factory=dict)
    """Fewer rounds for a workload that takes very long."""

    def command(self, base_url: str, folder: Path, workload: str) -> list[str]:
        """What is run, in *folder*."""
        if self.module:
            return [self.python, "-m", f"benchmarks.peers.{self.module}", base_url, str(folder), workload]
        if self.flow:
            return [self.python, "-m", "flows", "--source", workload]
        return [self.python, "-m", "pipelines", "run", workload]

    def environment(self, base_url: str, folder: Path) -> dict[str, str]:
        """The variables it runs with; Threadmill reads all it needs from there."""
        own = {
            "THREADMILL_CONFIG": str(HERE / "config"),
            "THREADMILL_TRANSFORMS": str(HERE / "config" / "transforms"),
            "THREADMILL_DATA": str(folder),
            "BENCH_URL": base_url,
        }
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(_NOT_INHERITED)}
        return {**inherited, "PYTHONPATH": str(ROOT), **({} if self.module else own), **self.env}

    def prepare(self, folder: Path) -> None:
        """Make *folder* new and lay out what the contender finds there."""
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        for name, origin in self.files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(HERE / "peers" / origin, folder / name)

    def written(self, folder: Path, workload: str) -> dict[str, list[Path]]:
        """The Parquet files of each table."""
        tables = [table(endpoint) for endpoint in ENDPOINTS[workload]]
        return {name: sorted(folder.glob(self.output.format(table=name, workload=workload))) for name in tables}


_FEW, _ONCE = ("api", "one"), {"api": 1}
"""Workloads of those that take a minute or more for one, and its rounds."""
_NOT_INHERITED = ("THREADMILL_", "PYTHONDONTWRITEBYTECODE")
"""Variables that would change what is measured: who runs a program twice has its modules compiled."""
THREADMILL = Contender("threadmill", "Threadmill", output="parquet/{workload}/{table}/**/*.parquet")
ONE_WORKER = Contender(
    "threadmill-1",
    "Threadmill, one worker",
    output=THREADMILL.output,
    env={"THREADMILL_WORKERS": "1"},
    workloads=("api", "x10"),
)
PEERS = (
    Contender("sequential", "requests + pandas, page after page", "sequential_pandas"),
    Contender("sequential-session", "the script, improved: one session for all pages", "sequential_pandas_session"),
    Contender("essay", "threads, then pickled frames to processes", "threads_then_processes"),
    Contender("hour", "a strong engineer's hour: threads + orjson + Polars", "strong_hour"),
    Contender("day", "a strong engineer's day: asyncio + msgspec + Polars", "strong_day"),
    Contender("day-improved", "the day, improved: Polars writes too", "strong_day_improved"),
)


def contenders(cache: Path, *, peers: bool, only: Collection[str] = ()) -> list[Contender]:
    """All that take part, or *only* those of these names; with *peers* also those that need an environment in *cache*.

    What does not take part is not built.

    Raises:
        SystemExit: *only* names one that there is not: what it measured would replace what is known by nothing.
    """
    made = {"flow": _flow, **({"dlt": _dlt, "airbyte": _airbyte, "singer": _singer} if peers else {})}
    wanted = [make for name, make in made.items() if not only or any(one.startswith(name) for one in only)]
    built = [one for make in wanted for one in make(cache)]
    found = [one for one in (THREADMILL, ONE_WORKER, *PEERS, *built) if not only or one.name in only]
    if missing := sorted(set(only) - {one.name for one in found}):
        raise SystemExit(f"no contender {', '.join(missing)} (dlt, airbyte and singer take part with --peers)")
    return found


def flow(cache: Path) -> Contender:
    """Threadmill as a flow of Prefect, whose database is made in *cache* before anything is timed."""
    home = cache / "prefect"
    env = {"PREFECT_HOME": str(home), "DO_NOT_TRACK": "1", "PREFECT_SERVER_ANALYTICS_ENABLED": "false"}
    if not home.is_dir():
        upgrade = [sys.executable, "-m", "prefect", "server", "database", "upgrade", "-y"]
        subprocess.run(upgrade, env={**os.environ, **env}, check=True, capture_output=True, timeout=300)
    title = "Threadmill as a Prefect flow"
    return Contender("flow", title, output=THREADMILL.output, env=env, workloads=("one", "api", "x10"), flow=True)


def _flow(cache: Path) -> list[Contender]:
    return [flow(cache)]


def _airbyte(cache: Path) -> list[Contender]:
    python = str(environment(cache / "airbyte", HERE / "peers" / "airbyte.lock"))
    quiet = {"DO_NOT_TRACK": "1", "AIRBYTE_OFFLINE_MODE": "1"}
    title = "Airbyte low-code CDK with PyAirbyte, defaults"
    return [
        Contender(
            "airbyte",
            title,
            "airbyte_rest",
            python=python,
            env=quiet,
            workloads=_FEW,
            rounds=_ONCE,
        )
    ]


def _singer(cache: Path) -> list[Contender]:
    python = str(environment(cache / "singer-tap", HERE / "peers" / "singer_tap.lock"))
    title = "Singer SDK: tap-rest-api-msdk, a Parquet sink"
    return [
        Contender(
            "singer",
            title,
            "singer_rest",
            "{table}-*.parquet",
            python,
            workloads=_FEW,
            rounds=_ONCE,
        )
    ]


def _dlt(cache: Path) -> list[Contender]:
    python = str(environment(cache / "dlt", HERE / "peers" / "dlt.lock"))
    output = "bench/{table}/*.parquet"
    quiet = {"RUNTIME__DLTHUB_TELEMETRY": "false"}
    tuned = {**quiet, "PEER_TUNED": "1"}
    config = {".dlt/config.toml": "dlt_tuned.toml"}
    return [
        Contender("dlt", "dlt, defaults", "dlt_rest_api", output, python, quiet),
        Contender("dlt-tuned", "dlt, tuned", "dlt_rest_api", output, python, tuned, config),
    ]


def environment(folder: Path, lock: Path) -> Path:
    """The interpreter of an environment that holds what *lock* names; built when it is missing or old."""
    python, stamp = folder / "bin" / "python", folder / "built-from"
    if stamp.exists() and stamp.read_text() == lock.read_text():
        return python
    print(f"building an environment from {lock.name} ...", flush=True)
    venv.create(folder, clear=True, with_pip=True)
    install = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--require-hashes", "--no-deps"]
    subprocess.run([str(python), *install, "-r", str(lock)], check=True, timeout=600)
    stamp.write_text(lock.read_text())
    return python
