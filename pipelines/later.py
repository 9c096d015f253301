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
        self._begun = False

    def begin(self) -> None:
        """Only the first call has an effect."""
        with self._lock:
            begun, self._begun = self._begun, True
        if not begun:
            threading.Thread(target=self._bring, name="imports", daemon=True).start()

    def _bring(self) -> None:
        for module in self._modules:
            with suppress(ImportError):  # whoever needs it meets that again
                importlib.import_module(module)
