"""The SPEC language in depth: splitting, class names, paths, lazy outputs, an open registry."""

from __future__ import annotations

import dataclasses
import random

import numpy as np
import pytest
import torch

from imu_core import forget_rules as rules_module
from imu_core.errors import BadInput, UnknownName
from imu_core.evaluation.outputs import Outputs
from imu_core.forget_rules import Proposal, forget_rule, forget_rules, parse_forget_spec
from imu_core.forget_set import ForgetSet, load_forget_set


@pytest.fixture
def named(digits):
    """The digits under names that a SPEC could stumble over."""
    names = ("t-shirt", "a, b", "7", "ids=3", "Ærø", "x+y", "cat", "8", "9", "bag")
    return dataclasses.replace(digits, name="named", class_names=names)


def outputs_of(logits):
    none = np.zeros((0, 1), dtype=np.float32)
    return Outputs(np.asarray(logits, dtype=np.float32), none, none, none)


def never():
    raise AssertionError("this rule must not ask for outputs")


def labels(spec, image_set):
    ids = list(parse_forget_spec(spec, image_set).ids)
    return sorted(set(image_set.train_labels[ids].tolist()))


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ("class=t-shirt", [0]),
        ("class=T-Shirt", [0]),
        ("class=a, b", [1]),
        ("class=7", [2]),
        ("class=2", [2]),
        ("class=ærø", [4]),
        ("class=x+y", [5]),
        ("class=t-shirt,cat", [0, 6]),
        ("class=t-shirt+class=x+y+class=cat", [0, 5, 6]),
        ("class=cat,t-shirt-class=t-shirt", [6]),
        ("class = cat", None),
    ],
)
def test_classes_by_name_before_number(named, spec, expected):
    if expected is None:
        with pytest.raises(BadInput, match="no forget set"):
            parse_forget_spec(spec, named)
    else:
        assert labels(spec, named) == expected


def test_unknown_class_names_the_near_ones(named):
    with pytest.raises(BadInput, match="Did you mean t-shirt"):
        parse_forget_spec("class=tshirt", named)
    with pytest.raises(BadInput, match="no class “10”"):
        parse_forget_spec("class=10", named)


@pytest.mark.parametrize("seed", range(15))
def test_a_spec_is_the_algebra_of_its_terms(digits, seed):
    draw = random.Random(seed)
    spec, expected = "", set()
    for number in range(draw.randint(1, 6)):
        ids = draw.sample(range(digits.n_train), draw.randint(1, 40))
        sign = draw.choice("+-") if number else ""
        space = draw.choice(["", " "])
        spec += f"{space}{sign}{space}ids={','.join(map(str, ids))}"
        expected = expected - set(ids) if sign == "-" else expected | set(ids)
    assert set(parse_forget_spec(spec, digits).ids) == expected


def test_history_says_in_words_how_it_came_about(digits):
    found = parse_forget_spec("class=3+random=10%-ids=7", digits, seed=2)
    assert found.history == (
        "class 3 (146 pictures)",
        "plus 144 pictures drawn at random, seed 2",
        "minus ids 7 (1 picture)",
    )


@pytest.mark.parametrize(
    ("argument", "count"),
    [("1", 1), ("10%", 144), ("0.1%", 1), ("12.5%", 180), ("10 %", 144), ("1437", 1437)],
)
def test_counts_and_shares(digits, argument, count):
    assert len(parse_forget_spec(f"random={argument}", digits)) == count


@pytest.mark.parametrize("argument", ["0%", "0.01%", "100.1%", "101%", "0", "1438", "9" * 18])
def test_counts_and_shares_out_of_range(digits, argument):
    with pytest.raises(BadInput, match="give from 1 to 1,437, or a share up to 100%"):
        parse_forget_spec(f"random={argument}", digits)


@pytest.mark.parametrize("rule", ["class", "random", "ids", "hardest"])
@pytest.mark.parametrize("argument", ["9" * 5000, "²", "٣", "1e3", "nan", "inf%", "3;5", ""])
def test_odd_numbers_are_one_sentence(digits, rule, argument):
    outputs = outputs_of(np.zeros((digits.n_train, 10)))
    with pytest.raises(BadInput) as caught:
        parse_forget_spec(f"{rule}={argument}", digits, outputs=lambda: outputs)
    assert "\n" not in str(caught.value)


def test_random_draws_from_its_own_generator(digits):
    before = torch.random.get_rng_state()
    first = parse_forget_spec("random=50", digits)
    assert torch.equal(before, torch.random.get_rng_state())
    torch.manual_seed(1)
    assert parse_forget_spec("random=50", digits).ids == first.ids


def test_random_reaches_all_pictures_alike(digits):
    hits = torch.zeros(digits.n_train)
    for seed in range(200):
        hits[list(parse_forget_spec("random=50%", digits, seed=seed).ids)] += 1
    # 200 draws at one half: six standard deviations, over 1,437 pictures.
    assert (hits - 100).abs().max() < 6 * 50**0.5
    assert hits.std() == pytest.approx(50**0.5, rel=0.15)


@pytest.mark.parametrize(
    "name", ["a-b=c.csv", "x+y=1.csv", "my set.csv", "-.csv", "+plus.json", "ünï.csv"]
)
def test_paths_with_signs_and_spaces(digits, tmp_path, name):
    path = tmp_path / name
    ForgetSet.of(digits, [3, 5], "by hand").save(path, digits)
    assert parse_forget_spec(f"file={path}", digits).ids == (3, 5)
    assert parse_forget_spec(f"ids=1 + file={path} - ids=5", digits).ids == (1, 3)


def test_a_path_below_the_home_folder(digits, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    ForgetSet.of(digits, [2], "by hand").save("~/mine.csv")
    assert (tmp_path / "mine.csv").is_file()
    assert parse_forget_spec("file=~/mine.csv", digits).ids == (2,)


def test_unknown_rules_after_a_sign_are_named(digits):
    with pytest.raises(UnknownName, match="Did you mean hardest"):
        parse_forget_spec("ids=4-hardst=5", digits)
    with pytest.raises(UnknownName, match="Known: "):
        parse_forget_spec("zzz=4", digits)


def test_outputs_are_asked_for_once_and_only_when_needed(digits):
    assert len(parse_forget_spec("class=3+random=5+ids=1", digits, outputs=never)) > 5
    asked = []

    def outputs():
        asked.append(1)
        return outputs_of(np.eye(10)[digits.train_labels.numpy()])

    parse_forget_spec("hardest=5+confident=5-hardest=2", digits, outputs=outputs)
    assert asked == [1]


def test_rules_by_model_agree_with_the_slow_way(digits):
    logits = 40 * torch.randn(digits.n_train, 10, generator=torch.Generator().manual_seed(0))
    outputs = outputs_of(logits.numpy())
    # Decimal-like reference: float64 log-probabilities, one picture at a time.
    loss, sure = [], []
    for row, label in zip(logits.double(), digits.train_labels.tolist(), strict=True):
        top = float(row.max())
        total = float((row - top).exp().sum())
        loss.append(np.log(total) + top - float(row[label]))
        others = np.delete(row.numpy(), int(row.argmax()))
        sure.append(top - float(np.log(np.exp(others - others.max()).sum())) - others.max())
    hardest = parse_forget_spec("hardest=40", digits, outputs=lambda: outputs)
    assert set(hardest.ids) == set(np.argsort(loss)[-40:].tolist())
    confident = parse_forget_spec("confident=40", digits, outputs=lambda: outputs)
    assert set(confident.ids) == set(np.argsort(sure)[-40:].tolist())
    # Sure does not mean right.
    wrong = logits.argmax(1) != digits.train_labels
    assert wrong[list(confident.ids)].any()


def test_equal_scores_go_by_id(digits):
    outputs = outputs_of(np.zeros((digits.n_train, 10)))
    for rule in ("hardest", "confident"):
        found = parse_forget_spec(f"{rule}=3", digits, outputs=lambda: outputs)
        assert found.ids == (0, 1, 2)


def test_a_rule_of_ones_own(digits, monkeypatch):
    forget_rules()
    monkeypatch.setattr(rules_module, "_RULES", dict(rules_module._RULES))

    @forget_rule("darkest", "50", "The pictures with the least ink.")
    def darkest(context, argument):
        ink = context.image_set.train_images.flatten(1).sum(1, dtype=torch.int64)
        return Proposal(ink.argsort()[: int(argument)].tolist(), f"the {argument} darkest")

    found = parse_forget_spec("darkest=4-ids=0", digits)
    assert len(found) in (3, 4)
    assert found.history[0] == "the 4 darkest"
    assert "darkest" in [rule.name for rule in forget_rules()]


def test_two_rules_of_one_name_are_refused():
    forget_rules()
    with pytest.raises(ValueError, match="Two rules are called “class”"):
        forget_rule("class", "3", "Another one.")(lambda context, argument: Proposal([], ""))


def test_rules_say_whether_they_need_a_model(digits):
    needs = {rule.name: rule.needs_outputs for rule in forget_rules()}
    assert not any(needs[name] for name in ("class", "random", "ids", "file"))
    for name in [name for name, needed in needs.items() if needed]:
        with pytest.raises(BadInput, match="choose a model first"):
            parse_forget_spec(f"{name}=5", digits)


def test_ids_must_be_whole_numbers(digits):
    assert ForgetSet.of(digits, torch.tensor([5, 2]), "x").ids == (2, 5)
    assert ForgetSet.of(digits, np.array([5, 2]), "x").ids == (2, 5)
    for bad in ([1.5], ["3"], [None], torch.tensor([1.0])):
        with pytest.raises(BadInput, match="whole numbers"):
            ForgetSet.of(digits, bad, "x")


def test_a_set_is_used_with_its_own_pictures_only(digits, named):
    chosen = ForgetSet.of(digits, [1, 2], "by hand")
    for use in (chosen.check_usable, chosen.retain_ids, chosen.to_csv):
        with pytest.raises(BadInput, match="not of “named”"):
            use(named)


def test_csv_tells_label_class_and_fingerprint(named, tmp_path):
    ids = [int(named.ids_of_class(label)[0]) for label in (1, 3, 5)]
    chosen = ForgetSet.of(named, ids, "by hand")
    chosen.save(tmp_path / "set.CSV", named)
    lines = (tmp_path / "set.CSV").read_text(encoding="utf-8").splitlines()
    assert lines[0] == "id,label,class,image_set,image_set_fingerprint"
    assert f'{ids[0]},1,"a, b",named,{named.fingerprint}' in lines
    assert load_forget_set(tmp_path / "set.CSV", named).ids == chosen.ids


def test_csv_survives_an_awkward_image_set_name(digits, tmp_path):
    odd = dataclasses.replace(digits, name='folder:/a, "b"')
    ForgetSet.of(odd, [1, 4], "by hand").save(tmp_path / "s.csv")
    assert load_forget_set(tmp_path / "s.csv", digits).ids == (1, 4)


@pytest.mark.parametrize(
    "text", ["id;label\n4;1\n8;2\n", "label,id\n1,4\n2,8\n", "id\n4.0\n8\n", '"id"\r\n"4"\r\n8']
)
def test_csv_as_others_write_it(digits, tmp_path, text):
    (tmp_path / "s.csv").write_bytes(text.encode())
    assert load_forget_set(tmp_path / "s.csv", digits).ids == (4, 8)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.json", '{"ids": "123"}'),
        ("a.json", '{"ids": {"1": 2}}'),
        ("a.json", '{"ids": [1], "history": "abc"}'),
        ("a.json", "[" * 100_000),
        ("a.json", '{"ids": [1e999]}'),
        ("a.json", '{"ids": [null]}'),
        ("a.csv", "id\n" + "9" * 200_000 + "\n"),
        ("a.csv", "label,id\n1\n"),
        ("a.csv", "id,image_set_fingerprint\n1,aa\n2,bb\n"),
        ("a.csv", "id\nnan\n"),
    ],
)
def test_more_broken_files_are_one_sentence(digits, tmp_path, name, text):
    (tmp_path / name).write_text(text)
    with pytest.raises(BadInput) as caught:
        load_forget_set(tmp_path / name, digits)
    assert "\n" not in str(caught.value)


def test_json_history_grows_with_each_load(digits, tmp_path):
    chosen = parse_forget_spec("class=3-ids=7", digits)
    chosen.save(tmp_path / "s.json")
    loaded = load_forget_set(tmp_path / "s.json", digits)
    assert loaded.history == (*chosen.history, "loaded from s.json (146 pictures)")
    assert loaded == dataclasses.replace(chosen, history=loaded.history)


def test_a_failed_save_leaves_the_old_file(digits, tmp_path):
    path = tmp_path / "s.csv"
    path.mkdir()
    chosen = ForgetSet.of(digits, [1], "by hand")
    with pytest.raises(BadInput, match="could not be written"):
        chosen.save(path)
    assert list(tmp_path.iterdir()) == [path]
    with pytest.raises(BadInput, match="could not be written"):
        chosen.save(tmp_path / "nowhere" / "s.json")
