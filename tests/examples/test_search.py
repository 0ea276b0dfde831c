"""The two rankers are what their README says, and clicks on merged lists tell rankers apart sooner than an A/B test."""

import importlib.util
import json
import random
import re
from collections.abc import Callable, Sequence
from math import log2
from statistics import median

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from strategies.evidence.epochs import Moments
from strategies.evidence.means import absolute
from strategies.evidence.means import log_e as log_e_of_means
from strategies.evidence.sign_test import log_e
from strategies.interleaving.credit import Preference, count
from strategies.interleaving.team_draft import team_draft

RANKERS = ("profile", "learned")
CATALOGUE_N = 200
K = 10
CLEAR = 2.995732  # ln 20
SEEDS_N = 51
SIZES = (50, 100, 500)  # of a test that is tuned to them
Ids = list[list[int]]


@pytest.fixture(scope="module")
def wanted(labels) -> list[int]:
    """The digit of each image that is searched with."""
    return labels[CATALOGUE_N:].tolist()


@pytest.fixture(scope="module")
def digits(root) -> list[int]:
    """The digit of each image in the catalogue."""
    return json.loads((root / "examples/search/labels.json").read_text())


@pytest.fixture(scope="module")
def ranked(open_model, pixels) -> dict[str, Ids]:
    """What each ranker finds for each image."""
    searched = {"pixels": pixels[CATALOGUE_N:]}
    return {name: open_model(f"examples/search/{name}.onnx").run(["ids"], searched)[0].tolist() for name in RANKERS}


def test_the_catalogue_is_what_the_rankers_search(digits, labels) -> None:
    assert labels[:CATALOGUE_N].tolist() == digits


@pytest.mark.parametrize("name", RANKERS)
def test_a_ranker_is_as_good_as_the_readme_says(name, root, ranked, wanted, digits) -> None:
    found = [[digits[item] == digit for item in items] for items, digit in zip(ranked[name], wanted, strict=True)]
    page = (root / "examples/search/README.md").read_text()
    size_n, of_ten, at_top = re.search(
        rf"\| `{name}` .*\| ([\d,]+) bytes \| ([\d.]+) % \| ([\d.]+) % \|", page
    ).groups()
    assert f"{(root / f'examples/search/{name}.onnx').stat().st_size:,}" == size_n
    assert float(of_ten) == pytest.approx(100 * sum(map(sum, found)) / (len(found) * K), abs=0.1)
    assert float(at_top) == pytest.approx(100 * sum(hits[0] for hits in found) / len(found), abs=0.5)


def test_the_rankers_are_what_their_script_makes(root) -> None:
    """Who reads the script knows the files; the last digits are the processor's."""
    spec = importlib.util.spec_from_file_location("make_search", root / "examples/search/make.py")
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    for path, content in script.build_files().items():
        if path.suffix == ".onnx":
            made, there = onnx.load_from_string(content), onnx.load(path)
            assert [node.SerializeToString() for node in made.graph.node] == [
                node.SerializeToString() for node in there.graph.node
            ]
            for one, other in zip(made.graph.initializer, there.graph.initializer, strict=True):
                np.testing.assert_allclose(numpy_helper.to_array(one), numpy_helper.to_array(other), atol=1e-6)
        else:
            assert content == path.read_bytes()


def test_no_list_names_an_image_twice(ranked) -> None:
    assert all(len(set(items)) == K for lists in ranked.values() for items in lists)


class Chance:
    def __init__(self, seed: int) -> None:
        self.number = random.Random(seed)

    def pick(self, count_n: int) -> int:
        return self.number.randrange(count_n)


class Searches:
    """Readers who click all that is relevant, and nothing else, on lists of two rankers, the better one second."""

    def __init__(self, lists: tuple[Ids, Ids], wanted: Sequence[int], digits: Sequence[int]) -> None:
        self._wanted, self._digits = wanted, digits
        self._lists = lists

    def clicks(self, items: Sequence[int], number: int) -> list[int]:
        """The places that a reader clicks."""
        return [place for place, item in enumerate(items) if self._digits[item] == self._wanted[number]]

    def interleaved_n(self, seed: int) -> int:
        """Lists until merged ones have shown who is better."""
        chance, found, shown_n = Chance(seed), Preference(), 0
        while log_e(found.wins, found.losses) < CLEAR:
            shown_n += 1
            number = chance.pick(len(self._wanted))
            merged = team_draft((self._lists[0][number], self._lists[1][number]), K, chance)
            found = count(found, merged, self.clicks(merged.items, number))
        assert found.losses > found.wins  # the second is better
        return shown_n

    def compared_n(self, seed: int, value: Callable[[list[int]], float]) -> tuple[int, ...]:
        """Lists until an A/B test on the mean of a value has shown it, for each size it may be tuned to."""
        chance = Chance(seed)
        sums = ([0, 0.0, 0.0], [0, 0.0, 0.0])
        needed: dict[int, int] = {}
        while len(needed) < len(SIZES):
            number, arm = chance.pick(len(self._wanted)), chance.pick(2)
            seen = value(self.clicks(self._lists[arm][number], number))
            sums[arm][0] += 1
            sums[arm][1] += seen
            sums[arm][2] += seen * seen
            if min(sums[0][0], sums[1][0]) >= 5:
                difference = absolute(Moments(*sums[0]), Moments(*sums[1]))
                for size in SIZES:
                    if difference.error and log_e_of_means(difference, 0.05, n_opt=size) >= CLEAR:
                        needed.setdefault(size, difference.n)
        return tuple(needed[size] for size in SIZES)


VALUES: dict[str, Callable[[list[int]], float]] = {
    "clicks": len,
    "discounted clicks": lambda places: sum(1 / log2(place + 2) for place in places),
    "reciprocal rank": lambda places: 1 / (places[0] + 1) if places else 0.0,
}


def spoilt(better: Ids, wanted: Sequence[int], digits: Sequence[int], *, every: int) -> Ids:
    """In every so many lists one relevant item gives way to one that is not."""
    chance, worse = random.Random(1), [list(items) for items in better]
    for number in range(0, len(worse), every):
        items, digit = worse[number], wanted[number]
        relevant = [place for place, item in enumerate(items) if digits[item] == digit]
        others = [item for item, each in enumerate(digits) if each != digit and item not in items]
        if relevant:
            items[chance.choice(relevant)] = chance.choice(others)
    return worse


@pytest.fixture(scope="module")
def needed(ranked, wanted, digits) -> Callable[[str], tuple[float, dict[str, float]]]:
    """Median lists until the better ranker is known, interleaved, and for each metric of an A/B test tuned best."""
    better = ranked["learned"]
    worse = {
        "every second list": spoilt(better, wanted, digits, every=2),
        "every list": spoilt(better, wanted, digits, every=1),
        "`profile`": ranked["profile"],
    }

    def measure(case: str) -> tuple[float, dict[str, float]]:
        searches = Searches((worse[case], better), wanted, digits)
        compared = {}
        for name, value in VALUES.items():
            runs = [searches.compared_n(seed, value) for seed in range(SEEDS_N)]
            compared[name] = min(median(sizes) for sizes in zip(*runs, strict=True))
        return median(searches.interleaved_n(seed) for seed in range(SEEDS_N)), compared

    return measure


def test_a_better_ranker_is_found_with_a_third_of_an_a_b_tests_traffic(needed) -> None:
    """Readers who click what is relevant; the A/B test has the metric that suits it best, tuned to its size."""
    interleaved_n, compared = needed("every second list")
    assert interleaved_n <= min(compared.values()) / 3


@pytest.mark.parametrize("case", ["every second list", "every list", "`profile`"])
def test_the_page_says_how_many_lists_each_way_needs(case, needed, root) -> None:
    """Where interleaving is no better the page says that, too."""
    page = (root / "docs/feedback.md").read_text()
    (row,) = re.findall(rf"^\| .*{case}.* \| (\d+) \| (\d+) \((.+)\) \| (\d+) \((.+)\) \|$", page, re.MULTILINE)
    interleaved_n, compared = needed(case)
    found = (interleaved_n, compared[row[2]], compared[row[4]])
    assert found == pytest.approx((float(row[0]), float(row[1]), float(row[3])), rel=0.1), found
    assert (found[1], found[2]) == pytest.approx((min(compared.values()), max(compared.values())), rel=0.1)
