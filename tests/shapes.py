"""While tests run, functions of arrays are checked whenever they are called: shapes and dtypes by jaxtyping, types by beartype.

What names no shape is left to mypy: to check all of `ingest` took three times as long to import. Protocols are left to it as
well, for to see whether a value is of one, each of its attributes would be computed; and names of modules that load later, of
which jaxtyping makes `Any`. Of the items of a list the first is looked at, in every run alike.
"""

import random
import typing
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import patch

from jaxtyping import AbstractArray, install_import_hook

with patch.object(random, "getrandbits", lambda bits: 0):  # which says for beartype what item that is
    from beartype import BeartypeConf, beartype

ROOT = Path(__file__).parents[1]
CONF = BeartypeConf(is_pep484_tower=True)
"""An int will do for a float, as for mypy."""


def check_annotations_of(package: str) -> None:
    """Of what is imported from a package from now on, in every module of it that names shapes."""
    files = [file for file in (ROOT / package).rglob("*.py") if "from jaxtyping import" in file.read_text(encoding="utf-8")]
    modules = [".".join(file.relative_to(ROOT).with_suffix("").parts) for file in files]
    install_import_hook(modules, f"{__name__}.checked")


def checked(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function that refuses arguments, and results, that are not what its annotations say, if these name a shape."""
    if not any(map(_names_shape, function.__annotations__.values())):
        return function
    function.__annotations__ = {name: Any if _names_protocol(hint) else hint for name, hint in function.__annotations__.items()}
    return beartype(conf=CONF)(function)


def _names_shape(hint: Any) -> bool:
    return (isinstance(hint, type) and issubclass(hint, AbstractArray)) or any(map(_names_shape, typing.get_args(hint)))


def _names_protocol(hint: Any) -> bool:
    if isinstance(hint, list):
        return any(map(_names_protocol, hint))
    return getattr(hint, "_is_protocol", False) or any(map(_names_protocol, typing.get_args(hint)))
