"""Modules that are imported later than where they are named: when something of them is asked for, or aside."""

from __future__ import annotations

import importlib
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from types import ModuleType
from typing import Any

_LOADING = threading.RLock()


class Later(ModuleType):
    """Stands in for a module until something of it is asked for."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        with _LOADING:
            if sys.modules.get(self.__name__) is self:
                del sys.modules[self.__name__]
            module = importlib.import_module(self.__name__)
        value = getattr(module, name)
        setattr(self, name, value)
        return value


class Soon:
    """Imports *modules* in a thread once `begin` is called, beside what waits for other processes meanwhile."""

    def __init__(self, modules: Sequence[str]) -> None:
        self._modules = modules
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def begin(self) -> None:
        """Only the first call has an effect."""
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._bring, name="imports", daemon=True)
                self._thread.start()

    def wait(self) -> None:
        """Return when all are there, if any was begun with."""
        if self._thread is not None:
            self._thread.join()

    def _bring(self) -> None:
        for module in self._modules:
            with suppress(ImportError):  # whoever needs it meets that again
                importlib.import_module(module)
