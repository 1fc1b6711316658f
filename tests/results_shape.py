"""A check that a document read from JSON has the shape that typed dictionaries describe."""

from types import NoneType, UnionType
from typing import Any, get_args, get_origin, get_type_hints, is_typeddict


def check_shape(value: Any, kind: Any, where: str = "document") -> None:
    """Fail, naming the place, where a value is not of the kind: no key may lack, and none may be added."""
    origin = get_origin(kind)
    if is_typeddict(kind):
        hints = get_type_hints(kind)
        assert isinstance(value, dict), where
        assert set(value) == set(hints), f"{where}: {set(value) ^ set(hints)}"
        for key, inner in hints.items():
            check_shape(value[key], inner, f"{where}.{key}")
    elif origin is UnionType:
        kinds = [one for one in get_args(kind) if one is not NoneType]
        assert len(kinds) < len(get_args(kind)) and len(kinds) == 1, f"{where}: expected X | None"
        if value is not None:
            check_shape(value, kinds[0], where)
    elif origin is dict:
        assert isinstance(value, dict), where
        for key, inner in value.items():
            check_shape(key, get_args(kind)[0], f"{where} key")
            check_shape(inner, get_args(kind)[1], f"{where}.{key}")
    elif origin is list:
        assert isinstance(value, list), where
        for index, inner in enumerate(value):
            check_shape(inner, get_args(kind)[0], f"{where}[{index}]")
    else:
        wanted = (int, float) if kind is float else kind
        assert isinstance(value, wanted) and not isinstance(value, bool), f"{where}: {value!r}"
