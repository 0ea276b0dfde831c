"""The rules of style that no linter knows. Each is shown to see an offence, then asked of every module."""

import ast
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("gateway", "runners", "strategies", "observability")

MODULE_LINES = 300
FUNCTION_LINES = 40  # the docstring apart
PARAMETERS = 6  # self and cls apart
VAGUE_NAMES = {"utils", "helpers", "manager", "base", "data", "info"}
MUTATORS = {
    *("add", "append", "appendleft", "clear", "discard", "extend", "insert"),
    *("pop", "popitem", "popleft", "remove", "setdefault", "update"),
}
SCRIPTS = {Path("gateway/state/migrations/env.py")}  # run by alembic, imported by nobody
IMPURE_CALLS = {"open", "input", "print", "eval", "exec", "__import__"}

Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class Module:
    """One source file; `path` is relative to the repository."""

    path: Path
    text: str

    @property
    def tree(self) -> ast.Module:
        return ast.parse(self.text)

    def functions(self) -> Iterator[Function]:
        return (node for node in ast.walk(self.tree) if isinstance(node, Function))

    def calls_by_name(self, names: set[str]) -> Iterator[tuple[int, str]]:
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in names:
                yield node.lineno, node.func.id


Offence = tuple[int, str]  # the line, and what is wrong there
Rule = Callable[[Module], Iterator[Offence]]


def module_length(module: Module) -> Iterator[Offence]:
    lines_n = len(module.text.splitlines())
    if lines_n > MODULE_LINES:
        yield 1, f"the module has {lines_n} lines, of at most {MODULE_LINES}"


def function_length(module: Module) -> Iterator[Offence]:
    for function in module.functions():
        lines_n = lines_of(function) - docstring_lines(function)
        if lines_n > FUNCTION_LINES:
            yield function.lineno, f"{function.name} has {lines_n} lines, of at most {FUNCTION_LINES}"


def signature_length(module: Module) -> Iterator[Offence]:
    for function in module.functions():
        names = parameters_of(function)
        if len(names) > PARAMETERS and not is_command(function):
            yield function.lineno, f"{function.name} has {len(names)} parameters, of at most {PARAMETERS}"


def telling_name(module: Module) -> Iterator[Offence]:
    for part in module.path.with_suffix("").parts:
        if part.strip("_") in VAGUE_NAMES:
            yield 1, f"{part!r} says nothing of what is inside"


def no_loose_ends(module: Module) -> Iterator[Offence]:
    for number, line in enumerate(module.text.splitlines(), 1):
        if re.search(r"#.*\b(TODO|FIXME|XXX)\b", line) and not re.search(r"https?://", line):
            yield number, "a TODO without a link to what was agreed"


def only_commands_print(module: Module) -> Iterator[Offence]:
    if not module.path.is_relative_to("gateway/cli"):
        for line, _ in module.calls_by_name({"print"}):
            yield line, "print is for gateway/cli; elsewhere there are events and logs"


def strategies_touch_nothing(module: Module) -> Iterator[Offence]:
    if module.path.is_relative_to("strategies"):
        for line, name in module.calls_by_name(IMPURE_CALLS):
            yield line, f"a strategy is pure and does not call {name}"


def strategies_stand_alone(module: Module) -> Iterator[Offence]:
    """A file directly in strategies/ is a strategy; nothing in the room may name another one, nor the core any."""
    if not module.path.is_relative_to("strategies"):
        return
    for line, name in imports_of(module.tree):
        first, _, rest = name.partition(".")
        imported = rest.split(".")[0]
        if first == "strategies" and imported and not (ROOT / "strategies" / imported).is_dir():
            yield line, f"imports {name}; a strategy knows the core, not its neighbours"


def nothing_runs_on_import(module: Module) -> Iterator[Offence]:
    if module.path in SCRIPTS:
        return
    if module.path.is_relative_to("gateway/cli"):
        return
    for node in module.tree.body:
        runs = isinstance(node, ast.For | ast.While | ast.With | ast.Delete | ast.AugAssign)
        is_bare_call = isinstance(node, ast.Expr) and not isinstance(node.value, ast.Constant)
        if runs or is_bare_call:
            yield node.lineno, "a module does no work when it is imported"


def no_global_changes(module: Module) -> Iterator[Offence]:
    shared = {name for node in module.tree.body for name in names_bound_by(node)}
    for function in module.functions():
        ours = {*parameters_of(function), *(n for node in ast.walk(function) for n in names_bound_by(node))}
        for node in ast.walk(function):
            if isinstance(node, ast.Global):
                yield node.lineno, f"global {', '.join(node.names)}"
            elif (name := changed_name(node)) in shared - ours:
                yield node.lineno, f"changes {name}, which belongs to the whole module"


RULES: dict[str, tuple[Rule, str, str]] = {  # the rule, a path, and a source that breaks it once
    "module length": (module_length, "gateway/long.py", "a = 1\n" * (MODULE_LINES + 1)),
    "function length": (function_length, "gateway/a.py", "async def f():\n" + "    a = 1\n" * FUNCTION_LINES),
    "signature length": (signature_length, "gateway/a.py", "def f(self, a, b, /, c, *d, e, f, **g): ..."),
    "telling name": (telling_name, "runners/_utils.py", ""),
    "no loose ends": (no_loose_ends, "runners/a.py", "a = 1  # TODO: two\n"),
    "only commands print": (only_commands_print, "gateway/service.py", "print('here')"),
    "strategies touch nothing": (strategies_touch_nothing, "strategies/a.py", "a = open('coin')"),
    "strategies stand alone": (strategies_stand_alone, "strategies/b.py", "from strategies.a import A"),
    "nothing runs on import": (nothing_runs_on_import, "runners/a.py", "'''Doc.'''\nregister()"),
    "no global changes": (no_global_changes, "runners/a.py", "seen = []\ndef f(a):\n    seen.append(a)"),
}
KEPT = '''
"""A module that keeps every rule."""
from strategies.core.plan import Plan

LIMIT = {"a": 1}  # TODO: https://example.org/agreed

def f(self, a, b, c, d, e, *f):
    """Forty lines of docstring are welcome.
''' + "\n".join(["", *["    and so on"] * 40, '    """', "    seen = []", "    seen.append(a)"])


@pytest.mark.parametrize("rule", RULES)
def test_a_rule_sees_an_offence(rule: str) -> None:
    """Whoever breaks a rule is told."""
    check, path, source = RULES[rule]
    assert 1 == len(list(check(Module(Path(path), source))))


@pytest.mark.parametrize("rule", RULES)
def test_a_rule_leaves_good_code_alone(rule: str) -> None:
    """Whoever keeps the rules is not bothered."""
    check, _, _ = RULES[rule]
    assert [] == list(check(Module(Path("strategies/good.py"), KEPT)))


@pytest.mark.parametrize("rule", RULES)
def test_every_module_keeps_the_rule(rule: str) -> None:
    """The code reads as CONTRIBUTING.md says it does."""
    check, _, _ = RULES[rule]
    offences = [f"{module.path}:{line}: {text}" for module in all_modules() for line, text in check(module)]
    assert not offences, "\n" + "\n".join(offences)


def test_all_four_packages_are_looked_at() -> None:
    """A package that moved is not forgotten."""
    assert set(PACKAGES) == {module.path.parts[0] for module in all_modules()}


def all_modules() -> list[Module]:
    paths = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
    return [Module(path.relative_to(ROOT), path.read_text()) for path in paths if not path.stem.endswith("_pb2")]


def lines_of(node: Function | ast.Expr) -> int:
    return (node.end_lineno or node.lineno) - node.lineno + 1


def docstring_lines(function: Function) -> int:
    first = function.body[0]
    return lines_of(first) if isinstance(first, ast.Expr) and ast.get_docstring(function) is not None else 0


def parameters_of(function: Function) -> list[str]:
    arguments = function.args
    named = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
    starred = [argument for argument in (arguments.vararg, arguments.kwarg) if argument]
    return [argument.arg for argument in (*named, *starred) if argument.arg not in {"self", "cls"}]


def is_command(function: Function) -> bool:
    """Whether the signature is a command line: then its options are the user's words and nobody calls it."""
    arguments = function.args
    written = [ast.unparse(each.annotation or ast.Constant(0)) for each in (*arguments.args, *arguments.kwonlyargs)]
    return all("typer." in annotation or annotation in shared_options() for annotation in written)


@cache
def shared_options() -> frozenset[str]:
    """The names of options that several commands have."""
    files = (ROOT / "gateway" / "cli").glob("*.py")
    lines = [line for file in files for line in file.read_text("utf-8").splitlines()]
    return frozenset(line.partition(" ")[0] for line in lines if re.match(r"\w+ = Annotated\[", line))


def imports_of(tree: ast.Module) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from ((node.lineno, f"{node.module}.{alias.name}") for alias in node.names)


def names_bound_by(node: ast.AST) -> Iterator[str]:
    """The plain names an assignment, a loop or a with statement binds."""
    match node:
        case ast.Assign(targets=targets):
            pass
        case ast.AnnAssign(target=target) | ast.For(target=target) | ast.comprehension(target=target):
            targets = [target]
        case ast.withitem(optional_vars=ast.expr() as target):
            targets = [target]
        case _:
            targets = []
    for target in targets:
        yield from (n.id for n in ast.walk(target) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store))


def changed_name(node: ast.AST) -> str:
    """The name whose object a statement changes in place, or ""."""
    match node:
        case ast.Subscript(value=ast.Name(id=name), ctx=ast.Store() | ast.Del()):
            return name
        case ast.Call(func=ast.Attribute(value=ast.Name(id=name), attr=method)) if method in MUTATORS:
            return name
        case ast.Call(func=ast.Name(id="next"), args=[ast.Name(id=name), *_]):
            return name
        case _:
            return ""
