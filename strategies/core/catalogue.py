"""Finds strategies: the word an operator writes as `kind` is the name of a file in this package."""

from importlib import import_module
from pkgutil import iter_modules

import strategies


def kinds() -> tuple[str, ...]:
    """Every kind there is, in alphabetical order."""
    return tuple(sorted(module.name for module in iter_modules(strategies.__path__) if not module.ispkg))


def strategy_types() -> tuple[type, ...]:
    """The class an operator's words become, one per kind and in the same order."""
    return tuple(import_module(f"strategies.{kind}").STRATEGY for kind in kinds())
