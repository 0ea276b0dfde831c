"""Finding a runner by the word an operator writes."""

import subprocess
import sys

import pytest

from runners.constant import Constant
from runners.core.catalogue import Runners, find_runner, known_runners
from runners.core.errors import LoadRefused
from runners.embedded import Embedded
from runners.fake import Fake


@pytest.mark.parametrize(("word", "runner"), [("embedded", Embedded), ("constant", Constant), ("fake", Fake)])
def test_a_runner_is_found_by_the_name_of_its_file(word, runner):
    """What an operator writes is what lies in the folder."""
    assert runner is find_runner(word)


def test_all_runners_are_known_and_no_room_is():
    """The list in an error is the list that works."""
    assert {"embedded", "constant", "fake"} <= set(known_runners())
    assert set() == {"core", "onnx", "registry"} & set(known_runners())


@pytest.mark.parametrize("word", ["gpu", "core", "", "os", "../core/errors", "core.errors"])
def test_an_unknown_word_is_told_with_the_known_ones(word):
    """An operator who misspelt a runner reads the right word; nothing is imported for a wrong one."""
    with pytest.raises(LoadRefused, match="write one of constant, embedded, fake"):
        find_runner(word)


async def test_a_gateway_has_one_runner_of_each_kind():
    """Asking twice gives the same one."""
    runners = Runners()
    assert runners.find("constant") is runners.find("constant")
    await runners.close()


def test_looking_costs_no_import():
    """A gateway that runs constants alone never loads the engine."""
    script = """
import sys
from runners.core.catalogue import known_runners
known_runners()
print('onnxruntime' in sys.modules)
"""
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert "False\n" == ended.stdout
