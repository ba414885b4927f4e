"""The registry: configs checked, names found, duplicates refused."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from imu_core.errors import BadInput, UnknownName
from imu_core.methods.registry import MethodConfig, all_methods, get_method, parameter, register


@dataclass(frozen=True)
class Example(MethodConfig):
    count: int = parameter(3, "How many.", low=1, high=9)
    rate: float = parameter(0.5, "How fast.", low=0, high=1)
    mode: str = parameter("a", "Which.", choices=("a", "b"))
    swap: bool = parameter(False, "Whether.")


def test_text_becomes_the_declared_kind():
    config = Example.from_mapping({"count": "4", "rate": "1e-1", "mode": "b", "swap": "Yes"})
    assert config == Example(4, 0.1, "b", True)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"count": "0"}, "at least 1"),
        ({"count": "10"}, "at most 9"),
        ({"count": "2.5"}, "whole number"),
        ({"count": "inf"}, "whole number"),
        ({"rate": "fast"}, "a number"),
        ({"rate": "nan"}, "at least 0"),
        ({"mode": "c"}, "one of a, b"),
        ({"swap": "perhaps"}, "true or false"),
        ({"cuont": "3"}, "Did you mean count"),
    ],
)
def test_bad_values_are_one_sentence(values, message):
    with pytest.raises(BadInput, match=message) as caught:
        Example.from_mapping(values)
    assert "\n" not in str(caught.value)


def test_unknown_method_names_the_near_ones():
    with pytest.raises(UnknownName, match="imu_permuted"):
        get_method("imu_permutd")


def test_a_second_method_of_the_same_name_is_an_error():
    def steps(task, config):
        yield from ()

    with pytest.raises(ValueError, match="Two methods"):
        register(
            "imu",
            title="",
            needs=("forget",),
            scope="head",
            paper="",
            summary="",
            formula="",
            config=Example,
        )(steps)


@pytest.mark.parametrize("method", all_methods(), ids=lambda method: method.name)
def test_every_method_says_what_it_is(method):
    assert "forget" in method.needs
    assert method.title
    assert method.paper
    assert method.formula
    assert method.summary.endswith(".")
    for item in method.parameters():
        assert item["doc"].endswith("."), item["name"]
        assert item["choices"] or item["kind"] in ("bool", "str") or item["low"] is not None
    assert (
        method.config.from_mapping(
            {item["name"]: str(item["default"]) for item in method.parameters()}
        )
        == method.config()
    )
