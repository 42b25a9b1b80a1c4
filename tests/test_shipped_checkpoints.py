"""The checkpoints that ship: they load by name, rebuild EEG, and say whom they saw."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch

from braindecode_samba import (
    SAMBA,
    SAMBAClassifier,
    SAMBAReconstructor,
    chs_info_from_names,
    load_checkpoint,
    load_montage,
    positions_from_chs_info,
)
from braindecode_samba.pretraining import Masking, TimeFrequencyLoss
from braindecode_samba.pretraining.config import read_config
from braindecode_samba.pretraining.reconstruction import MaskedReconstruction
from braindecode_samba.signals import EEGSimulator

FOLDER = Path(__file__).parents[1] / "checkpoints"
# fitted decoders are the matter of test_decoders.py
REBUILT = sorted(run.parent.name for run in FOLDER.glob("*/pretrain.json"))
NAMES = [*REBUILT, "samba-labels"]
SUBJECTS = {"eegmmidb": range(1, 29), "eegmat": range(12)}

pretrained = pytest.mark.parametrize("name", NAMES)


@pretrained
def test_it_loads_by_name_with_every_tensor_used(name):
    if name in REBUILT:
        model, report = load_checkpoint(name, SAMBAReconstructor)
    else:  # it has no decoder
        model, report = load_checkpoint(name, n_outputs=1, n_chans=None)
        assert "decoder" not in str(report)
    assert report.new == report.left_over == ()
    assert not model.training
    for tensor in model.parameters():
        assert torch.isfinite(tensor).all()


@pretrained
@pytest.mark.parametrize("montage", ["muse_4", "clinical_19", "physionetmi_64"])
def test_it_starts_a_classifier_of_any_montage(name, montage):
    electrodes = load_montage(montage).names
    model, report = load_checkpoint(
        name, SAMBA, n_outputs=3, chs_info=chs_info_from_names(electrodes), sfreq=250
    )
    new = {part.split(".")[0] for part in report.new}
    assert new == ({"head", "final_layer"} if name in REBUILT else {"final_layer"})
    x = torch.randn(2, len(electrodes), 500, generator=torch.Generator().manual_seed(0))
    assert model(x).shape == (2, 3)


@pytest.mark.parametrize("name", REBUILT)
def test_it_rebuilds_what_is_hidden_of_heads_it_has_never_seen(name):
    config = json.loads((FOLDER / name / "pretrain.json").read_text("utf-8"))
    n_times = round(config["windows"]["window_seconds"] * config["windows"]["sfreq"])
    simulator = EEGSimulator(sfreq=config["windows"]["sfreq"], seed=8)
    windows = []
    for subject in (1, 2):
        raw = simulator.raw(subject=subject, n_trials=20)
        signals = raw.get_data(stop=min(raw.n_times, 4 * n_times)) * 1e6
        n = signals.shape[1] // n_times
        windows += np.split(signals[:, : n * n_times], n, axis=1)
    x = torch.tensor(np.stack(windows), dtype=torch.float32)
    chs_info = raw.info["chs"]
    model, _ = load_checkpoint(name, SAMBAReconstructor, chs_info=chs_info)
    pos = torch.tensor(positions_from_chs_info(chs_info), dtype=torch.float32)
    pos = pos.expand(len(x), -1, -1)
    masking, index = Masking(**config["masking"]), torch.arange(len(x))
    mask = masking(index, n_times, 0, 0, pos)
    with torch.no_grad():
        output, target = MaskedReconstruction(model)(x, pos, mask=mask)
    loss = TimeFrequencyLoss(norm="ortho", region="masked")
    rebuilt, zeros = loss(output, target, mask), loss(0 * target, target, mask)
    assert rebuilt < 0.95 * zeros


@pytest.mark.parametrize("name", REBUILT)
def test_its_card_names_subjects_that_may_be_seen_and_attribution(name):
    config = json.loads((FOLDER / name / "pretrain.json").read_text("utf-8"))
    assert set(config["corpora"]) == set(SUBJECTS)
    for corpus, allowed in SUBJECTS.items():
        for choice in config["corpora"][corpus]["subjects"]:
            first, last = (int(number) for number in re.findall(r"\d+", choice))
            assert set(range(first, last + 1)) <= set(allowed)
    card = (FOLDER / name / "README.md").read_text("utf-8")
    for words in (
        "ODC-BY 1.0", "Schalk", "Zyma", "S001 to S026", "## Signals", "## Recipe",
        "## Curve", "## Cost", "## Scores", "## Limits", "## Licence", "seed",
    ):  # fmt: skip
        assert words.lower() in card.lower(), words
    assert "/work" not in card


@pytest.mark.parametrize("name", REBUILT)
def test_its_training_can_be_repeated(name):
    config = read_config(str(FOLDER / name / "pretrain.json"))
    assert config.name.lower() == name


@pretrained
def test_it_is_small_and_holds_no_pickle(name):
    files = [path for path in (FOLDER / name).rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 8e6
    assert {path.suffix for path in files} <= {".safetensors", ".json", ".md"}


@pretrained
def test_an_estimator_starts_from_it(name):
    X, y, _, info = EEGSimulator(seed=8).imagery(n_subjects=1, n_trials=3)
    decoder = SAMBAClassifier(
        ch_names=info["ch_names"],
        sfreq=info["sfreq"],
        checkpoint=name,
        finetune="head",
        max_epochs=1,
        random_state=0,
    ).fit(X[..., :256], y)
    assert decoder.checkpoint_report_.name == name
    assert np.isfinite(decoder.decision_function(X[..., :256])).all()
