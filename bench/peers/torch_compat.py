"""Lets PyTorch import with the older Python packages of Debian 12. Import it before torch."""
import typing

import sympy.core.numbers
import typing_extensions

NAMES = {
    "deprecated": lambda *_args, **_options: lambda function: function,
    "override": lambda function: function,
    "TypeIs": typing_extensions.TypeGuard,
    "TypeForm": typing_extensions.TypeGuard,
    "ReadOnly": typing_extensions.Required,
    "TypeVarTuple": getattr(typing, "TypeVarTuple", None),
    "TypeAliasType": lambda _name, value, **_options: value,
    "NoDefault": None,
    "Buffer": object,
}
for name, value in NAMES.items():
    if not hasattr(typing_extensions, name):
        setattr(typing_extensions, name, value)
if not hasattr(sympy.core.numbers, "equal_valued"):
    sympy.core.numbers.equal_valued = lambda a, b: bool(a == b)
