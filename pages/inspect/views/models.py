"""The same picture under the original, the unlearned and a retrained model."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np
import streamlit as st
import torch

from imu_core.runs.store import MODEL
from imu_core.saliency import rank_correlation
from pages.inspect import found_run, maps, pictures
from pages.inspect.head import Asked
from pages.inspect.views.pixels import wish_of
from pages.widgets import errors, explain, resources
from pages.widgets.words import percent

if TYPE_CHECKING:
    from imu_core.runs import Run
    from pages.inspect.views.one_picture import Seen

SIDE = 224


def draw(which: Asked, seen: Seen) -> None:
    st.subheader("Before, after and retrained")
    with errors.shown():
        run = found_run.to_look_at(which)
        if run is None:
            st.info(
                "There is no run on this model to show yet. After unlearning, the picture stands "
                "here under the original, the unlearned and the retrained model.",
                icon=":material/compare:",
            )
            return
        record = run.record
        what = "; ".join(record["forget"]["history"]) or f"{record['forget']['n']:,} pictures"
        st.caption(f"{found_run.title(run)} · forgot {what}")
        _row(which, seen, run)


@st.fragment
def _row(which: Asked, seen: Seen, run: Run) -> None:
    titles = {m.name: m.title for m in maps.methods(which.checkpoint, which.images)}
    with st.container(horizontal=True, vertical_alignment="bottom"):
        method = st.selectbox(
            "Method", list(titles), format_func=titles.get, key="inspect:method", width=260
        )
        share = (
            st.slider("Map over picture, %", 0, 100, 70, 5, key="inspect:row-overlay", width=300)
            / 100
        )
    wish = wish_of(which.checkpoint, which.images, seen, method)
    files = model_files(run)
    with st.spinner("Asking every model"):
        found = {
            name: maps.one(replace(wish, checkpoint=path)).values for name, path in files.items()
        }
    shown = ["Original", "Unlearned", *(["Retrained 1"] if "Retrained 1" in found else [])]
    most = max(float(np.abs(found[name]).max()) for name in shown)
    columns = st.columns(len(shown) + len(shown) - 1)
    for name in shown:
        with columns[shown.index(name)]:
            st.markdown(f"**{name.removesuffix(' 1')}**")
            _image(wish, found[name], most, share, f"{titles[method]} under the {name.lower()}")
            st.caption(_says(files[name], wish))
    for place, other in enumerate((name for name in shown if name != "Unlearned"), len(shown)):
        with columns[place]:
            st.markdown(f"**Unlearned − {other.lower().removesuffix(' 1')}**")
            gap = found["Unlearned"] - found[other]
            _image(wish, gap, most, 1.0, f"Difference from the {other.lower()}")
            st.caption(f"Drift {_number(drift(found['Unlearned'], found[other]))}")
    st.markdown(_sentence(found))
    explain.how(
        "All maps of the row have one scale. Drift is one minus the rank correlation of two maps: "
        "0 is the same map, 1 no relation. Retrained models that differ by their seed alone drift "
        "apart as well; only a drift above that floor says that unlearning changed what the model "
        "looks at. What it does not say: it is one picture and one method.",
        formula=r"\mathrm{drift} = 1 - \rho_{\mathrm{Spearman}}(m_a, m_b)",
        key="inspect:drift",
    )


def model_files(run: Run) -> dict[str, str]:
    """Original, unlearned and every retrained model of a run by their files."""
    files = {"Original": str(run.original_path), "Unlearned": str(run.model_path)}
    files |= {
        f"Retrained {i + 1}": str(folder / MODEL) for i, folder in enumerate(run.reference_paths())
    }
    return files


def drift(one: np.ndarray, other: np.ndarray) -> float:
    """One minus the rank correlation of two maps; NaN where one is flat."""
    return 1 - float(
        rank_correlation(torch.from_numpy(one)[None], torch.from_numpy(other)[None])[0]
    )


def _image(wish: maps.Wish, values: np.ndarray, most: float, share: float, title: str) -> None:
    picture = pictures.pixels(wish.images, wish.part, wish.row)
    st.image(pictures.as_png(pictures.overlaid(picture, values, most, share), SIDE), alt=title)


def _says(path: str, wish: maps.Wish) -> str:
    shares = maps.probabilities(path, wish.images, wish.part, wish.row)
    names = resources.image_set(wish.images).class_names
    best = int(shares.argmax())
    return f"says “{names[best]}” {percent(float(shares[best]))}"


def _number(value: float) -> str:
    return f"{value:.2f}" if np.isfinite(value) else "cannot be had: a map is flat"


def _sentence(found: dict[str, np.ndarray]) -> str:
    retrained = [values for name, values in found.items() if name.startswith("Retrained")]
    after = found["Unlearned"]
    from_original = drift(after, found["Original"])
    text = f"The unlearned model's map drifted {_number(from_original)} from the original's"
    if not retrained:
        return text + ". There is no retrained model to say how far it should have."
    away = float(np.mean([drift(after, one) for one in retrained]))
    text += f" and lies {_number(away)} from that of a retrained model (mean of {len(retrained)})"
    if len(retrained) < 2:
        return text + ". With one retrained model there is no floor to read this against."
    floor = float(np.mean([drift(*pair) for pair in combinations(retrained, 2)]))
    verdict = (
        "within what another seed alone does" if away <= floor else "more than another seed does"
    )
    return f"{text}. Two retrained models lie {_number(floor)} apart: {verdict}."
