"""The user's function: DataFrame in, DataFrame out, nothing lost on the way.

The frame's columns are Arrow's own (`pd.ArrowDtype`): an integer with nulls
stays an integer, a decimal a decimal. Functions come from the modules of one
folder, `pipelines/transforms/` by default, and from nowhere else.
"""

from __future__ import annotations

import importlib.util
import re
import sys
import threading
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from pipelines.errors import ConfigError, TransformError

if TYPE_CHECKING:
    import pandas as pd

Transform = Callable[["pd.DataFrame"], "pd.DataFrame"]
FOLDER = Path(__file__).parent.parent / "transforms"
_IMPORTING = threading.RLock()
_NAME = re.compile(r"([A-Za-z]\w*):([A-Za-z]\w*)", re.ASCII)


def resolve(name: str, folders: Sequence[Path] = (FOLDER,)) -> Transform:
    """The function that `module:function` names in one of *folders*; nothing else is ever imported.

    Raises:
        ConfigError: No such module or function; the message lists those that are.
    """
    match = _NAME.fullmatch(name)
    modules = {path.stem: path for folder in reversed(folders) for path in sorted(Path(folder).glob("*.py"))}
    known = ", ".join(sorted(modules.keys() - {"__init__"})) or "none"
    if match is None or match[1] not in modules:
        raise ConfigError(f"unknown transform {name!r}", f"write module:function; modules in the folder: {known}")
    with _IMPORTING:  # a module is known before it is whole, and Dask resolves in several threads
        module = _module(modules[match[1]], name)
    function = getattr(module, match[2], None)
    if not callable(function) or getattr(function, "__module__", None) != _module_name(modules[match[1]]):
        raise ConfigError(f"unknown transform {name!r}", f"{modules[match[1]]} defines no function {match[2]!r}")
    return function  # type: ignore[no-any-return] # callable is all that can be known of a user's function


def apply(table: pa.Table, function: Transform) -> pa.Table:
    """What *function* makes of *table*; its index is dropped.

    Raises:
        TransformError: It failed or gave no DataFrame; the message names the line and the columns.
    """
    import pandas as pd

    frame = table.to_pandas(types_mapper=pd.ArrowDtype)
    name = f"{function.__module__.rpartition('.')[2]}:{getattr(function, '__name__', 'function')}"
    try:
        result: Any = function(frame)
    except Exception as error:
        raise _failed(name, error, table) from error
    if not isinstance(result, pd.DataFrame):
        raise TransformError(f"{name} returned {type(result).__name__} and no DataFrame", "return the frame")
    return _to_table(result, name)


def _to_table(frame: pd.DataFrame, name: str) -> pa.Table:
    names = [str(column) for column in frame.columns]
    if len(set(names)) < len(names) or not all(isinstance(column, str) for column in frame.columns):
        raise TransformError(f"{name} returned columns that are no distinct names: {', '.join(names)}", "rename them")
    if lost := [str(one) for one in frame.index.names if one is not None and one not in names]:
        raise TransformError(
            f"{name} returned {', '.join(lost)} as the index of the frame", "make columns of it with `reset_index()`"
        )
    try:
        table = pa.Table.from_pandas(frame, preserve_index=False)
    except (pa.ArrowException, OverflowError) as error:
        raise TransformError(f"{name} returned a column of mixed types: {error}", "give it one type") from error
    return _plain(table.replace_schema_metadata(None))


def _plain(table: pa.Table) -> pa.Table:
    """Text and categories as every reader knows them."""
    for index, field in enumerate(table.schema):
        kind = field.type.value_type if pa.types.is_dictionary(field.type) else field.type
        if pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
            kind = pa.string()
        if kind != field.type:
            table = table.set_column(index, field.name, table[field.name].cast(kind))
    return table


def _failed(name: str, error: Exception, table: pa.Table) -> TransformError:
    """The error with the line of the user's file that raised it."""
    frames = traceback.extract_tb(error.__traceback__)[1:]
    code = frames[0].filename if frames else ""
    line = next((f" at {Path(one.filename).name}:{one.lineno}" for one in reversed(frames) if one.filename == code), "")
    said = f"{type(error).__name__}: {error}".splitlines()[0][:300]
    return TransformError(f"{name} failed{line}: {said}", f"the frame has the columns {', '.join(table.column_names)}")


def _module_name(path: Path) -> str:
    own = path.parent.resolve() == FOLDER.resolve()
    return f"pipelines.transforms.{path.stem}" if own else f"threadmill_transforms.{path.stem}"


def _module(path: Path, name: str) -> ModuleType:
    full = _module_name(path)
    loaded = sys.modules.get(full)
    if loaded is not None and Path(loaded.__file__ or "").resolve() == path.resolve():
        return loaded
    spec = importlib.util.spec_from_file_location(full, path)
    if spec is None or spec.loader is None:
        raise ConfigError(f"unknown transform {name!r}", f"{path} cannot be imported")
    module = importlib.util.module_from_spec(spec)
    sys.modules[full] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[full]
        raise ConfigError(
            f"{path} cannot be imported: {type(error).__name__}: {error}", "correct the module"
        ) from error
    return module
