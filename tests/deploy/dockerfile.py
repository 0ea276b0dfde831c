"""A Dockerfile carried out without a container engine: every stage in a root of its own, laid over this machine's.

For Linux and root. What stands for `FROM python` is this machine itself, so a stage may find more here than it would in
the image, never less; what its instructions do is done in full. Run it under `unshare --mount`: its mounts end with it.
"""

import json
import os
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass, field, replace
from pathlib import Path

PYTHON_PLACE = "usr/local/bin"  # where the official images keep theirs


@dataclass(frozen=True)
class Instruction:
    """One of a Dockerfile, its continued lines as one."""

    word: str
    rest: str


@dataclass
class Stage:
    """What an instruction finds: files, variables, a folder, a user."""

    place: Path
    variables: dict[str, str] = field(default_factory=dict)
    folder: str = "/"
    user: str = ""
    command: list[str] = field(default_factory=list)
    health: list[str] = field(default_factory=list)

    @property
    def root(self) -> Path:
        return self.place / "root"

    def inside(self, path: str) -> Path:
        return self.root / path.lstrip("/") if path.startswith("/") else self.root / self.folder.lstrip("/") / path


def parse(text: str) -> list[Instruction]:
    """The instructions of a Dockerfile. Comments go, also those between continued lines."""
    kept = "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("#"))
    lines = kept.replace("\\\n", " ").splitlines()
    return [Instruction(word, rest.strip()) for word, _, rest in (line.partition(" ") for line in lines) if word]


class Build:
    """All stages of one Dockerfile, in order. `context` is the folder that COPY takes from."""

    def __init__(self, context: Path, scratch: Path, arguments: dict[str, str]) -> None:
        self.stages: dict[str, Stage] = {}
        self._context = context
        self._scratch = scratch
        self._arguments = dict(arguments)

    def carry_out(self, instructions: list[Instruction], only: tuple[str, ...]) -> None:
        """Carry out the stages named. Raises CalledProcessError with the output of a RUN that fails."""
        stage: Stage | None = None
        for each in instructions:
            if each.word == "FROM":
                source, _, name = each.rest.partition(" AS ")
                stage = self._begin(name, self._filled(source, {})) if name in only else None
            elif each.word == "ARG" and (stage or not self.stages):
                name, _, default = each.rest.partition("=")
                self._arguments.setdefault(name, default)
            elif stage:
                self._do(stage, each)

    def _begin(self, name: str, source: str) -> Stage:
        parent = self.stages.get(source)
        stage = replace(parent, variables=dict(parent.variables)) if parent else Stage(self._scratch)
        stage.place = self._scratch / name
        upper, work = stage.place / "upper", stage.place / "work"
        for folder in (work, stage.root):
            folder.mkdir(parents=True)
        if parent:  # what it wrote is copied: layers of an overlay must not lie in one another, and all lie in /
            _sh("cp", "-a", parent.place / "upper", upper)
        else:
            upper.mkdir()
        _sh("mount", "-t", "overlay", "-o", f"lowerdir=/,upperdir={upper},workdir={work}", "overlay", stage.root)
        _sh("mount", "-t", "proc", "proc", stage.root / "proc")
        _sh("mount", "--rbind", "/dev", stage.root / "dev")
        if not parent:
            _have_python(stage.root / PYTHON_PLACE)
        self.stages[name] = stage
        return stage

    def _do(self, stage: Stage, each: Instruction) -> None:
        rest = self._filled(each.rest, stage.variables)
        match each.word:
            case "RUN":
                run_inside(stage, ["/bin/sh", "-c", each.rest], self._arguments)
            case "ENV":
                for name, value in (pair.split("=", 1) for pair in shlex.split(rest)):
                    stage.variables[name] = value
            case "WORKDIR":
                stage.folder = rest
                stage.inside(rest).mkdir(parents=True, exist_ok=True)
            case "USER":
                stage.user = rest
            case "COPY":
                self._copy(stage, shlex.split(rest))
            case "ENTRYPOINT":
                stage.command = json.loads(rest)
            case "CMD":
                stage.command = stage.command + json.loads(rest)
            case "HEALTHCHECK":
                stage.health = json.loads(rest[rest.index("[") :])

    def _copy(self, stage: Stage, words: list[str]) -> None:
        origin = self._context
        if words[0].startswith("--from="):
            origin = self.stages[words.pop(0).removeprefix("--from=")].root
        *sources, target = words
        for source in sources:
            found, into = origin / source.lstrip("/"), stage.inside(target)
            if found.is_dir():
                shutil.copytree(found, into, dirs_exist_ok=True, symlinks=True)
            else:
                as_folder = target.endswith("/") or into.is_dir() or len(sources) > 1
                into = into / found.name if as_folder else into
                into.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(found, into)

    def _filled(self, text: str, variables: dict[str, str]) -> str:
        for name, value in {**self._arguments, **variables, "PATH": variables.get("PATH", os.environ["PATH"])}.items():
            text = text.replace(f"${{{name}}}", value).replace(f"${name}", value)
        return text


def run_inside(stage: Stage, command: list[str], arguments: dict[str, str], *, user: str = "") -> str:
    """Run something in a stage's root; returns its output. Raises CalledProcessError."""
    path = f"/{PYTHON_PLACE}:{os.environ['PATH']}"
    variables = {**os.environ, **arguments, "PATH": path, **stage.variables}
    done = subprocess.run(
        inside(stage, command, user), env=variables, capture_output=True, text=True, check=False, timeout=900
    )
    if done.returncode:
        raise subprocess.CalledProcessError(done.returncode, command, done.stdout, done.stderr)
    return done.stdout


def inside(stage: Stage, command: list[str], user: str = "") -> list[str]:
    """What runs `command` in a stage's root and folder, as `user`: a number, a colon and a group's number."""
    as_user = [f"--userspec={user}", "--groups="] if user else []
    return ["chroot", *as_user, str(stage.root), "env", f"--chdir={stage.folder}", *command]


def _have_python(folder: Path) -> None:
    """`python` and `pip` where the official image has them, in the words of this machine's Python."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, words in (("python", ""), ("pip", " -m pip")):
        script = folder / name
        script.unlink(missing_ok=True)
        script.write_text(f'#!/bin/sh\nexec {os.path.realpath(sys.executable)}{words} "$@"\n')
        script.chmod(0o755)


def _sh(*words: object) -> None:
    subprocess.run([str(word) for word in words], check=True, capture_output=True)
