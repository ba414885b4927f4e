"""Forget sets: algebra, the SPEC language, files, and what is refused."""

from __future__ import annotations

import json
import random

import pytest
import torch

from imu_core.errors import BadInput, UnknownName
from imu_core.forget_rules import forget_rules, parse_forget_spec
from imu_core.forget_set import ForgetSet, load_forget_set
from imu_core.images import ImageSet


def of(digits, ids):
    return ForgetSet.of(digits, ids, "by hand")


@pytest.mark.parametrize("seed", range(20))
def test_algebra_is_that_of_sets(digits, seed):
    draw = random.Random(seed)
    a, b, c = (set(draw.sample(range(digits.n_train), draw.randint(0, 60))) for _ in range(3))
    x, y, z = (of(digits, ids) for ids in (a, b, c))
    assert set(x.union(y).ids) == a | b
    assert set(x.difference(y).ids) == a - b
    assert set(x.intersection(y).ids) == a & b
    assert x.union(y).digest == y.union(x).digest
    assert x.difference(y.union(z)).ids == x.difference(y).intersection(x.difference(z)).ids
    assert x.union(y).ids == tuple(sorted(a | b))


def test_retain_is_the_rest(digits):
    chosen = of(digits, [5, 3])
    retain = chosen.retain_ids(digits)
    assert len(retain) == digits.n_train - 2
    assert not set(chosen.ids) & set(retain.tolist())
    assert torch.equal(chosen.ids_tensor(), torch.tensor([3, 5]))


def test_digest_names_pictures_and_ids_alone(digits, fashion_small):
    assert of(digits, [1, 2]).digest == ForgetSet.of(digits, [2, 1], "otherwise").digest
    assert of(digits, [1, 2]).digest != of(digits, [1, 3]).digest
    assert of(digits, [1, 2]).digest != of(fashion_small, [1, 2]).digest


def test_sets_of_other_pictures_do_not_mix(digits, fashion_small):
    with pytest.raises(BadInput, match="cannot be combined"):
        of(digits, [1]).union(of(fashion_small, [1]))


def test_class_by_number_and_name(digits, fashion_small):
    threes = parse_forget_spec("class=3", digits)
    assert threes.ids == tuple(digits.ids_of_class(3).tolist())
    both = parse_forget_spec("class=3,5", digits)
    assert len(both) == len(threes) + len(digits.ids_of_class(5))
    assert parse_forget_spec("class=ankle boot", fashion_small).ids == (
        parse_forget_spec("class=9", fashion_small).ids
    )
    assert "pictures" in threes.history[0]


def test_random_depends_on_the_seed_alone(digits):
    first = parse_forget_spec("random=10%", digits, seed=4)
    assert len(first) == round(0.1 * digits.n_train)
    assert parse_forget_spec("random=10%", digits, seed=4).ids == first.ids
    assert parse_forget_spec("random=10%", digits, seed=5).ids != first.ids
    assert len(parse_forget_spec("random=100", digits)) == 100


def test_terms_join_from_left_to_right(digits):
    threes = set(digits.ids_of_class(3).tolist())
    first = sorted(threes)[:2]
    spec = f"class=3 - ids={first[0]},{first[1]} + ids=0"
    found = parse_forget_spec(spec, digits)
    assert set(found.ids) == (threes - set(first)) | {0}
    assert len(found.history) == 3


def test_a_path_keeps_its_plus_and_minus(digits, tmp_path):
    folder = tmp_path / "a-b+c"
    folder.mkdir()
    of(digits, [7, 9]).save(folder / "my-set+1.csv", digits)
    found = parse_forget_spec(f"file={folder}/my-set+1.csv+ids=11", digits)
    assert found.ids == (7, 9, 11)


@pytest.mark.parametrize("ending", ["csv", "json"])
def test_a_saved_set_comes_back(digits, tmp_path, ending):
    path = tmp_path / f"set.{ending}"
    saved = of(digits, [4, 8, 15])
    saved.save(path, digits)
    loaded = load_forget_set(path, digits)
    assert loaded.ids == saved.ids
    assert loaded.digest == saved.digest
    assert any("loaded from" in how for how in loaded.history)
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("ending", ["csv", "json"])
def test_a_set_of_another_image_set_is_refused(digits, fashion_small, tmp_path, ending):
    path = tmp_path / f"set.{ending}"
    of(fashion_small, [1, 2]).save(path, fashion_small)
    with pytest.raises(BadInput, match="another image set"):
        load_forget_set(path, digits)


def test_a_plain_column_of_ids_is_enough(digits, tmp_path):
    path = tmp_path / "set.csv"
    path.write_text("\ufeffid\r\n3\r\n1\r\n", encoding="utf-8")
    assert load_forget_set(path, digits).ids == (1, 3)


def test_class_names_with_commas_and_quotes_survive_csv(tmp_path):
    images = ImageSet(
        "odd",
        "Odd",
        torch.zeros(2, 1, 8, 8, dtype=torch.uint8),
        torch.tensor([0, 1]),
        torch.zeros(2, 1, 8, 8, dtype=torch.uint8),
        torch.tensor([0, 1]),
        ('a, "b"', "ケ"),
    )
    chosen = ForgetSet.of(images, [0], "by hand")
    chosen.save(tmp_path / "x.csv", images)
    assert load_forget_set(tmp_path / "x.csv", images).ids == (0,)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.csv", "number\n3\n", "column called"),
        ("a.csv", "", "column called"),
        ("a.csv", "id\nthree\n", "no whole number"),
        ("a.csv", "id\n3.5\n", "no whole number"),
        ("a.csv", "id\n\n3\n3\n", "given twice"),
        ("a.csv", "id\n99999\n", "0 to 1436"),
        ("a.csv", "id\n-1\n", "0 to 1436"),
        ("a.json", "[1, 2]", "no saved forget set"),
        ("a.json", "{", "no saved forget set"),
        ("a.json", '{"ids": [true]}', "no whole number"),
        ("a.txt", "3", "must end in"),
    ],
)
def test_broken_files_are_one_sentence(digits, tmp_path, name, text, message):
    (tmp_path / name).write_text(text)
    with pytest.raises(BadInput, match=message) as caught:
        load_forget_set(tmp_path / name, digits)
    assert "\n" not in str(caught.value)


def test_missing_and_unreadable_files(digits, tmp_path):
    with pytest.raises(BadInput, match="no file"):
        load_forget_set(tmp_path / "no.csv", digits)
    (tmp_path / "b.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(BadInput, match="read as text"):
        load_forget_set(tmp_path / "b.csv", digits)
    with pytest.raises(BadInput, match="read as text"):
        load_forget_set(tmp_path, digits)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("", "empty"),
        ("class", "no forget set"),
        ("3", "no forget set"),
        ("class=10", "no class “10”"),
        ("class=-1", "no class “-1”"),
        ("class=cat", "no class “cat”"),
        ("random=0", "0 pictures"),
        ("random=101%", "1,437"),
        ("random=-5%", "whole number"),
        ("random=2.5", "whole number"),
        ("random=many", "whole number"),
        ("ids=1,x", "whole numbers"),
        ("ids=", "whole numbers"),
        ("ids=1,1", "given twice"),
        ("ids=1437", "0 to 1436"),
        ("ids=-3", "0 to 1436"),
        ("-class=3", "begins with"),
        ("file=nowhere.csv", "no file"),
        ("hardest=5", "model"),
    ],
)
def test_bad_specs_are_one_sentence(digits, spec, message):
    with pytest.raises(BadInput, match=message) as caught:
        parse_forget_spec(spec, digits)
    assert "\n" not in str(caught.value)


def test_unknown_rule_names_the_near_ones(digits):
    with pytest.raises(UnknownName, match="Did you mean hardest"):
        parse_forget_spec("hardes=5", digits)


def test_empty_and_everything_cannot_be_used(digits):
    with pytest.raises(BadInput, match="empty"):
        parse_forget_spec("ids=1-ids=1", digits).check_usable(digits)
    with pytest.raises(BadInput, match="all 1,437"):
        of(digits, range(digits.n_train)).check_usable(digits)


def test_rules_by_loss_look_at_the_model(digits):
    from imu_core.evaluation.outputs import Outputs

    logits = torch.zeros(digits.n_train, 10)
    logits[torch.arange(digits.n_train), digits.train_labels] = torch.linspace(
        5, -5, digits.n_train
    )
    none = torch.zeros(0, 1).numpy()
    outputs = Outputs(logits.numpy(), none, none, none)
    last = parse_forget_spec("hardest=3", digits, outputs=lambda: outputs)
    first = parse_forget_spec("confident=3", digits, outputs=lambda: outputs)
    assert last.ids == tuple(range(digits.n_train - 3, digits.n_train))
    assert first.ids == (0, 1, 2)


def test_every_rule_says_why_one_would_choose_it():
    for rule in forget_rules():
        assert rule.sentence.endswith(".")
        assert rule.argument


def test_json_carries_history_and_fingerprint(digits, tmp_path):
    of(digits, [1]).save(tmp_path / "s.json", digits)
    data = json.loads((tmp_path / "s.json").read_text())
    assert data["image_set_fingerprint"] == digits.fingerprint
    assert data["history"] == ["by hand"]


def test_saving_under_another_ending_is_refused(digits, tmp_path):
    with pytest.raises(BadInput, match=r"\.csv or \.json"):
        of(digits, [1]).save(tmp_path / "s.txt", digits)
