"""Image sets: the digits, stratified subsets, the registry of sources, SPECs that are refused."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys

import numpy as np
import pytest
import torch

from imu_core.errors import BadInput, UnknownName
from imu_core.images import ImageSource, image_sources, open_image_set
from imu_core.images.source import quotas


def test_digits_are_those_of_scikit_learn(digits):
    from sklearn.datasets import load_digits

    data = load_digits()
    assert (digits.n_train, digits.n_test, digits.n_classes) == (1437, 360, 10)
    assert digits.image_shape == (1, 8, 8)
    assert digits.class_names == tuple("0123456789")
    ids = digits.source_ids.numpy()
    expected = np.round(data.images[ids] * 255 / 16)
    np.testing.assert_array_equal(digits.train_images[:, 0].numpy(), expected)
    np.testing.assert_array_equal(digits.train_labels.numpy(), data.target[ids])
    rest = np.setdiff1d(np.arange(len(data.target)), ids)
    expected = np.round(data.images[rest] * 255 / 16)
    np.testing.assert_array_equal(digits.test_images[:, 0].numpy(), expected)
    np.testing.assert_array_equal(digits.test_labels.numpy(), data.target[rest])


def test_digits_split_is_stratified(digits):
    train = torch.bincount(digits.train_labels).double()
    test = torch.bincount(digits.test_labels).double()
    exact = (train + test) * 360 / 1797
    assert (test - exact).abs().max() < 1


def test_opening_twice_gives_the_same_content(digits):
    again = open_image_set(" digits ")
    assert again is not digits
    assert again.fingerprint == digits.fingerprint


def test_pixel_statistics_are_means_and_deviations(digits):
    (mean,), (std,) = digits.pixel_statistics
    pixels = digits.train_images.double() / 255
    assert mean == pytest.approx(float(pixels.mean()), abs=1e-9)
    assert std == pytest.approx(float(pixels.std(correction=0)), abs=1e-9)


@pytest.mark.parametrize("change", ["pixel", "label", "name", "split"])
def test_fingerprint_changes_with_any_content(digits, change):
    images, labels = digits.train_images.clone(), digits.train_labels.clone()
    fields = {"train_images": images, "train_labels": labels}
    if change == "pixel":
        images[700, 0, 3, 3] ^= 1
    elif change == "label":
        labels[700] = (labels[700] + 1) % 10
    elif change == "name":
        fields["class_names"] = ("zero", *digits.class_names[1:])
    else:
        fields["train_images"], fields["train_labels"] = images[:-1], labels[:-1]
    assert dataclasses.replace(digits, **fields).fingerprint != digits.fingerprint


def test_fingerprint_knows_nothing_of_the_name(digits):
    other = dataclasses.replace(digits, name="other", title="Other", source_ids=None)
    assert other.fingerprint == digits.fingerprint


@pytest.mark.parametrize("count", [10, 57, 500, 1436])
def test_subset_is_stratified_and_keeps_its_source(digits, count):
    subset = open_image_set(f"digits:{count}")
    assert subset.n_train == count
    assert subset.name == f"digits:{count}"
    exact = torch.bincount(digits.train_labels).double() * count / digits.n_train
    got = torch.bincount(subset.train_labels, minlength=10).double()
    assert (got - exact).abs().max() < 1 or (got.min() == 1 and count < 20)
    assert torch.equal(subset.test_images, digits.test_images)
    assert subset.class_names == digits.class_names
    place = {int(source): i for i, source in enumerate(digits.source_ids)}
    ids = torch.tensor([place[int(source)] for source in subset.source_ids])
    assert torch.equal(ids, ids.unique())
    assert torch.equal(digits.train_images[ids], subset.train_images)
    assert torch.equal(digits.train_labels[ids], subset.train_labels)


def test_subset_depends_on_count_and_seed_alone():
    state = torch.random.get_rng_state()
    first = open_image_set("digits:200")
    torch.manual_seed(99)
    assert open_image_set("digits:200").fingerprint == first.fingerprint
    torch.random.set_rng_state(state)
    same, other = open_image_set("digits:200:0"), open_image_set("digits:0200:7")
    assert (same.name, same.fingerprint) == ("digits:200", first.fingerprint)
    assert other.name == "digits:200:7"
    assert other.fingerprint != first.fingerprint
    assert open_image_set(other.name).fingerprint == other.fingerprint


def test_subset_of_everything_is_the_set_itself(digits):
    whole = open_image_set("digits:1437:5")
    assert (whole.name, whole.fingerprint) == ("digits", digits.fingerprint)


@pytest.mark.parametrize("seed", range(30))
def test_quotas_add_up_and_stay_within_what_there_is(seed):
    draw = torch.Generator().manual_seed(seed)
    counts = torch.randint(1, 400, (12,), generator=draw)
    total = int(torch.randint(12, int(counts.sum()) + 1, (1,), generator=draw))
    shares = quotas(counts, total)
    assert int(shares.sum()) == total
    assert (shares >= 1).all()
    assert (shares <= counts).all()
    exact = counts.double() * total / counts.sum()
    if exact.min() >= 1:
        # With no class held up at 1 it is the largest-remainder rule itself.
        largest = exact.floor().long()
        order = (exact - largest).argsort(descending=True, stable=True)
        largest[order[: total - int(largest.sum())]] += 1
        assert torch.equal(shares, largest)


def test_quotas_of_a_rare_class_are_one():
    assert quotas(torch.tensor([1000, 1000, 1]), 10).tolist() == [5, 4, 1]


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("digits:9", "from 10"),
        ("digits:0", "from 10"),
        ("digits:1438", "to 1,437"),
        ("digits:", "for example"),
        ("digits:many", "for example"),
        ("digits:-5", "for example"),
        ("digits:1.5", "for example"),
        ("digits:100:", "for example"),
        ("digits:100:x", "for example"),
        ("digits:100:1:2", "for example"),
        ("digits:²", "for example"),
        ("digits:100:" + "9" * 40, "for example"),
    ],
)
def test_bad_counts_and_seeds_are_one_sentence(spec, message):
    with pytest.raises(BadInput, match=message) as caught:
        open_image_set(spec)
    assert "\n" not in str(caught.value)


def test_unknown_source_names_the_near_ones():
    with pytest.raises(UnknownName, match="Did you mean digits"):
        open_image_set("digit")
    with pytest.raises(UnknownName, match="fashion-mnist"):
        open_image_set("fashion:100")
    with pytest.raises(UnknownName, match="Known: digits"):
        open_image_set("")


def test_sources_describe_themselves(digits):
    sources = {source.name: source for source in image_sources()}
    assert {
        "digits",
        "fashion-mnist",
        "mnist",
        "kmnist",
        "cifar10",
        "cifar100",
        "cifar100-coarse",
        "svhn",
    } <= set(sources)
    assert next(iter(sources)) == "digits"
    about = sources["digits"]
    assert about.available
    assert not about.needs_download
    assert (about.n_train, about.n_test) == (digits.n_train, digits.n_test)
    assert (about.n_classes, about.image_shape) == (digits.n_classes, digits.image_shape)
    for source in sources.values():
        assert isinstance(source, ImageSource)
        assert source.sentence.endswith(".")
        assert json.loads(json.dumps(dataclasses.asdict(source)))["name"] == source.name


def test_looking_for_sources_imports_neither_torchvision_nor_scikit_learn():
    program = (
        "import sys; from imu_core.images import image_sources, open_image_set\n"
        "image_sources(); open_image_set('digits')\n"
        "print([name for name in ('torchvision', 'sklearn') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"train_images": torch.zeros(1437, 1, 8, 8)}, "uint8"),
        ({"train_images": torch.zeros(1437, 8, 8, dtype=torch.uint8)}, "uint8"),
        ({"train_labels": torch.zeros(5, dtype=torch.int64)}, "5 labels"),
        ({"train_labels": torch.full((1437,), 10)}, "0–9"),
        ({"test_labels": torch.full((360,), -1)}, "0–9"),
        ({"test_images": torch.zeros(360, 1, 9, 9, dtype=torch.uint8)}, "differ in size"),
        (
            {
                "test_images": torch.zeros(0, 1, 8, 8, dtype=torch.uint8),
                "test_labels": torch.zeros(0, dtype=torch.int64),
            },
            "no test pictures",
        ),
    ],
)
def test_pictures_and_labels_that_do_not_fit_are_refused(digits, changes, message):
    with pytest.raises(BadInput, match=message):
        dataclasses.replace(digits, **changes)
