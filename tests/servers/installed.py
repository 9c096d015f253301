"""Servers of other people, each installed once, in its exact version, into a folder that git ignores."""

from __future__ import annotations

import shutil
import subprocess
import venv
from pathlib import Path

FOLDER = Path(__file__).parents[2] / ".servers"


def from_pypi(package: str, version: str) -> Path:
    """The program of *package*, in an environment of its own."""
    folder = _folder(package, version)
    program = folder / "bin" / package
    if not program.exists():
        venv.create(folder, with_pip=True, clear=True)
        pip = [str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        _install([*pip, f"{package}=={version}"])
    return program


def from_npm(package: str, version: str) -> Path:
    """The program of *package*; needs Node.js."""
    folder = _folder(package, version)
    program = folder / "node_modules" / ".bin" / package
    npm = shutil.which("npm")
    if npm is None:
        raise RuntimeError(f"{package} comes from npm: install Node.js 20 or later")
    if not program.exists():
        quiet = ["--silent", "--no-audit", "--no-fund", "--ignore-scripts"]
        _install([npm, "install", *quiet, "--prefix", str(folder), f"{package}@{version}"])
    return program


def _folder(package: str, version: str) -> Path:
    folder = FOLDER / f"{package}-{version}"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _install(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    if done.returncode != 0:
        raise RuntimeError(f"{command[-1]} cannot be installed: {done.stderr[-2000:]}")
