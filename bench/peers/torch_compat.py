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
check_generic = typing._check_generic


def check_generic_with_defaults(cls, parameters, count):
    """A class may be given fewer types than it has when those left out have defaults."""
    left_out = getattr(cls, "__parameters__", ())[len(parameters) :]
    if not left_out or any(getattr(one, "__default__", None) is None for one in left_out):
        check_generic(cls, parameters, count)


typing._check_generic = check_generic_with_defaults
if not hasattr(sympy.core.numbers, "equal_valued"):
    sympy.core.numbers.equal_valued = lambda a, b: bool(a == b)
