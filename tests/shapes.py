"""While tests run, annotations are checked whenever a function is called: shapes and dtypes by jaxtyping, types by beartype.

Protocols are left to mypy: to see whether a value is of one, each of its attributes would be computed. So are names of modules
that load later, of which jaxtyping makes `Any`. Of the items of a list the first is looked at, in every run alike.
"""

import random
import typing
from collections.abc import Callable
from typing import Any
from unittest.mock import patch

from jaxtyping import install_import_hook

with patch.object(random, "getrandbits", lambda bits: 0):  # which says for beartype what item that is
    from beartype import BeartypeConf, beartype

CONF = BeartypeConf(is_pep484_tower=True)
"""An int will do for a float, as for mypy."""


def check_annotations_of(*packages: str) -> None:
    """Of what is imported from these packages from now on."""
    install_import_hook(packages, f"{__name__}.checked")


def checked(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function that refuses arguments, and results, that are not what its annotations say."""
    function.__annotations__ = {name: Any if _names_protocol(hint) else hint for name, hint in function.__annotations__.items()}
    return beartype(conf=CONF)(function)


def _names_protocol(hint: Any) -> bool:
    if isinstance(hint, list):
        return any(map(_names_protocol, hint))
    return getattr(hint, "_is_protocol", False) or any(map(_names_protocol, typing.get_args(hint)))
