"""Named sets on disk: back as they were, a folder for each image set, broken files named."""

from __future__ import annotations

import dataclasses
import json

import pytest

from imu_core.errors import BadInput, MissingData
from imu_core.forget_set import ForgetSet
from imu_core.saved_sets import (
    SavedSet,
    checked_name,
    delete_set,
    load_set,
    save_set,
    saved_sets,
    sets_folder,
)


@pytest.fixture
def some(digits) -> SavedSet:
    forget = ForgetSet.of(digits, [4, 8, 15], "by hand").union(
        ForgetSet.of(digits, [16], "a near-duplicate")
    )
    return SavedSet("my set", forget, (23, 42), {4: "looks like a 9", 23: "odd"})


def test_a_set_comes_back_with_history_protected_and_notes(tmp_path, digits, some):
    kept = save_set(tmp_path, digits, some)
    assert load_set(tmp_path, digits, "my set") == kept
    assert kept.forget == some.forget
    assert kept.forget.history == ("by hand", "plus a near-duplicate")
    assert (kept.protected, kept.notes) == ((23, 42), {4: "looks like a 9", 23: "odd"})
    assert kept.saved.endswith("+00:00")
    path = sets_folder(tmp_path, digits) / "my set.json"
    assert path.parent.parent == tmp_path / "sets"
    assert digits.fingerprint.startswith(path.parent.name)
    assert [one.name for one in path.parent.iterdir()] == ["my set.json"]


def test_saving_again_replaces_and_deleting_removes(tmp_path, digits, some):
    save_set(tmp_path, digits, some)
    smaller = dataclasses.replace(some, forget=ForgetSet.of(digits, [1], "one"))
    save_set(tmp_path, digits, smaller)
    assert [one.forget.ids for one in saved_sets(tmp_path, digits)] == [(1,)]
    delete_set(tmp_path, digits, "my set")
    delete_set(tmp_path, digits, "my set")
    assert saved_sets(tmp_path, digits) == []
    with pytest.raises(MissingData, match="no saved set"):
        load_set(tmp_path, digits, "my set")


def test_what_is_to_be_forgotten_is_not_protected(tmp_path, digits, some):
    kept = save_set(tmp_path, digits, dataclasses.replace(some, protected=(4, 23)))
    assert kept.protected == (23,)


@pytest.mark.parametrize(
    "name",
    ["кошки", "猫と犬", "a/b", "../../up", ".hidden", "100 %", "con: a?", "naïve  twice", "x" * 60],
)
def test_names_in_any_script_stay_inside_the_folder(tmp_path, digits, some, name):
    save_set(tmp_path, digits, dataclasses.replace(some, name=name))
    (path,) = [one for one in tmp_path.rglob("*") if one.is_file()]
    assert path.parent == sets_folder(tmp_path, digits)
    assert [one.name for one in saved_sets(tmp_path, digits)] == [checked_name(name)]
    assert load_set(tmp_path, digits, name).forget == some.forget


@pytest.mark.parametrize(
    "name", ["", "   ", "x" * 61, "a\x00b", "left\u202eright", "日" * 61, "𠀀" * 60]
)
def test_bad_names_are_one_sentence(tmp_path, digits, some, name):
    with pytest.raises(BadInput, match=r"\.$"):
        save_set(tmp_path, digits, dataclasses.replace(some, name=name))
    assert not list(tmp_path.iterdir())


def test_two_names_are_never_the_same_file(tmp_path, digits, some):
    names = ["a/b", "a%2Fb", "a\\b", ".a", "%2Ea", "a:b"]
    for name in names:
        save_set(tmp_path, digits, dataclasses.replace(some, name=name))
    assert {one.name for one in saved_sets(tmp_path, digits)} == set(names)


def test_sets_of_other_pictures_are_neither_offered_nor_read(tmp_path, digits, some):
    save_set(tmp_path, digits, some)
    other = dataclasses.replace(digits, train_labels=digits.train_labels.flip(0))
    assert saved_sets(tmp_path, other) == []
    with pytest.raises(BadInput, match="not of"):
        save_set(tmp_path, other, some)
    # A folder copied by hand under the other fingerprint.
    sets_folder(tmp_path, digits).rename(sets_folder(tmp_path, other))
    with pytest.raises(BadInput, match="saved for other pictures"):
        load_set(tmp_path, other, "my set")


@pytest.mark.parametrize(
    "change",
    [
        {"ids": [4, 4]},
        {"ids": [99_999]},
        {"ids": "4"},
        {"ids": [True]},
        {"protected": [-1]},
        {"notes": {"x": "y"}},
        {"notes": []},
        {"history": None},
        {"name": ""},
    ],
)
def test_a_damaged_file_is_named_and_hides_no_other(tmp_path, digits, some, change):
    save_set(tmp_path, digits, dataclasses.replace(some, name="whole"))
    save_set(tmp_path, digits, some)
    path = sets_folder(tmp_path, digits) / "my set.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(BadInput):
        load_set(tmp_path, digits, "my set")
    assert [one.name for one in saved_sets(tmp_path, digits)] == ["whole"]
    path.write_bytes(b"\xff{")
    with pytest.raises(BadInput, match="damaged"):
        load_set(tmp_path, digits, "my set")


def test_an_empty_set_is_not_saved(tmp_path, digits, some):
    with pytest.raises(BadInput, match="empty"):
        save_set(
            tmp_path,
            digits,
            dataclasses.replace(some, forget=dataclasses.replace(some.forget, ids=())),
        )
