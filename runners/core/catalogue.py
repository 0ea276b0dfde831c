"""Finds a runner by the word an operator writes, which is the name of its file in `runners/`.

Nothing is imported before it is asked for: a gateway that runs embedded models never loads what a cluster needs.
"""

from collections.abc import Mapping
from importlib import import_module
from importlib.util import find_spec
from pkgutil import ModuleInfo, iter_modules
from typing import cast

import runners
from runners.core.errors import LoadRefused, quoted
from runners.core.runner import Runner


class Runners:
    """The runners of one gateway: one of each kind, made when it is first asked for."""

    def __init__(self, made: Mapping[str, Runner] | None = None) -> None:
        """`made` are those that need more than a word to be made."""
        self._made: dict[str, Runner] = dict(made or {})

    def find(self, word: str) -> Runner:
        """The runner behind `word`, always the same. Raises LoadRefused for a word that names none."""
        if word not in self._made:
            self._made[word] = find_runner(word)()
        return self._made[word]

    async def close(self) -> None:
        """Close every runner that was made; their endpoints belong to whoever opened them."""
        for runner in self._made.values():
            await runner.close()


def known_runners() -> tuple[str, ...]:
    """The words that `find_runner` takes, sorted. A package in `runners/` is a room, unless it has an `opener.py`."""
    return tuple(sorted(found.name for found in iter_modules(runners.__path__) if _module_of(found)))


def find_runner(word: str) -> type[Runner]:
    """The class behind `word`; calling it without arguments gives a runner. Raises LoadRefused."""
    known = known_runners()
    if word not in known:
        raise LoadRefused(f"runner {quoted(word)}", "there is no such runner", f"write one of {', '.join(known)}")
    found = next(each for each in iter_modules(runners.__path__) if each.name == word)
    return cast(type[Runner], import_module(_module_of(found)).RUNNER)


def _module_of(found: ModuleInfo) -> str:
    """The module that has the runner, "" where there is none."""
    if not found.ispkg:
        return f"runners.{found.name}"
    spec = find_spec(f"runners.{found.name}.opener")
    return spec.name if spec else ""
