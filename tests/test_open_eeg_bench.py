"""Open EEG Bench's contract, and its own code on simulated windows where installed."""

import warnings

import numpy as np
import pytest
import torch
from braindecode.datasets import BaseConcatDataset, RawDataset
from braindecode.preprocessing import create_windows_from_events
from torch import nn

from braindecode_samba import SAMBA, SAMBAReconstructor, chs_info_from_names
from braindecode_samba.evaluation import benchmark_arguments
from braindecode_samba.pretraining.saving import write_checkpoint
from braindecode_samba.signals import EEGSimulator

NAMES = ["FC3", "FC4", "C3", "Cz", "C4", "Pz"]
SFREQ = 100.0


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    torch.manual_seed(1)
    model = SAMBAReconstructor(
        sfreq=128, d_state=4, expand=2, chs_info=chs_info_from_names(NAMES)
    )
    folder = tmp_path_factory.mktemp("bench") / "small"
    return write_checkpoint(folder, model, {"epochs": 1}, "# card"), model


@pytest.fixture
def arguments(checkpoint, tmp_path):
    return benchmark_arguments(checkpoint[0], tmp_path / "samba.pth")


@pytest.fixture(scope="module")
def windows():
    """Four subjects' imagery at the benchmark's 100 Hz, as it loads its data."""
    simulator = EEGSimulator(NAMES, sfreq=SFREQ, erd=0.9)
    recordings = [
        RawDataset(simulator.raw(subject, n_trials=6), {"subject": subject})
        for subject in range(1, 5)
    ]
    mapping = {"left_hand": 0, "right_hand": 1}
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="braindecode\\.|mne")
        return create_windows_from_events(
            BaseConcatDataset(recordings), mapping=mapping, preload=True, verbose=False
        )


def build(arguments, chs_info, n_times=400):
    """Build and fill as the benchmark does: names and shapes decide, strictly else."""
    model = SAMBA(
        **arguments["model_kwargs"],
        n_chans=len(chs_info),
        n_times=n_times,
        n_outputs=2,
        sfreq=SFREQ,
        chs_info=chs_info,
    )
    saved = torch.load(arguments["checkpoint_path"], weights_only=True)
    own = model.state_dict()
    fitting = {k: v for k, v in saved.items() if own[k].shape == v.shape}
    missing, _ = model.load_state_dict(fitting, strict=False)
    return model, saved, fitting, missing


def test_every_parameter_but_the_last_layer_is_filled(arguments, checkpoint):
    model, saved, fitting, missing = build(arguments, chs_info_from_names(NAMES))
    assert saved.keys() == fitting.keys()
    parameters = {name for name, _ in model.named_parameters()}
    assert {name for name in missing if name in parameters} == {
        "final_layer.weight",
        "final_layer.bias",
    }
    trunk = checkpoint[1].trunk.state_dict()
    for name, value in model.trunk.named_parameters():
        torch.testing.assert_close(value.detach(), trunk[name])


def test_positions_and_rate_stay_those_of_the_data(arguments):
    names = ["O1", "Oz", "O2", "P3", "Pz", "P4"]  # as many as the checkpoint has
    filled = build(arguments, chs_info_from_names(names))[0]
    fresh = SAMBA(
        **arguments["model_kwargs"],
        n_outputs=2,
        sfreq=SFREQ,
        n_times=400,
        chs_info=chs_info_from_names(names),
    )
    for (name, value), (_, expected) in zip(
        filled.named_buffers(), fresh.named_buffers(), strict=True
    ):
        torch.testing.assert_close(value, expected, msg=name, equal_nan=True)


def test_windows_at_100_hz_give_outputs_and_a_new_head_learns(arguments, windows):
    model = build(arguments, windows.datasets[0].raw.info["chs"])[0]
    x = torch.from_numpy(np.stack([windows[i][0] for i in range(4)]))
    assert x.shape == (4, 6, 400)
    assert model(x).shape == (4, 2)
    for name, parameter in model.named_parameters():
        parameter.requires_grad = "final_layer" in name
    model.final_layer = nn.Sequential(nn.Flatten(1), nn.LazyLinear(3))
    model(x).square().mean().backward()
    assert model(x).shape == (4, 3)
    assert model.final_layer[1].weight.grad.abs().sum() > 0
    assert all(parameter.grad is None for parameter in model.trunk.parameters())


def test_same_checkpoint_gives_the_same_file_and_leaves_the_seed(checkpoint, tmp_path):
    state = torch.random.get_rng_state()
    files = [
        torch.load(
            benchmark_arguments(checkpoint[0], tmp_path / name)["checkpoint_path"],
            weights_only=True,
        )
        for name in ("a.pth", "b.pth")
    ]
    torch.testing.assert_close(files[0], files[1], rtol=0, atol=0)
    assert torch.equal(state, torch.random.get_rng_state())


def test_scale_of_recordings_is_refused(tmp_path):
    model = SAMBAReconstructor(sfreq=128, d_state=4, expand=2, scale="recording")
    folder = write_checkpoint(tmp_path / "recording", model, {"epochs": 1}, "# card")
    with pytest.raises(ValueError, match="scale='recording'"):
        benchmark_arguments(folder, tmp_path / "samba.pth")
    assert not (tmp_path / "samba.pth").exists()


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning")
@pytest.mark.parametrize("strategy", ["frozen", "ridge_probe"])
def test_benchmarks_own_code_runs_the_checkpoint(strategy, arguments, windows):
    pytest.importorskip(
        "open_eeg_bench", reason="needs Open EEG Bench: pip install open-eeg-bench"
    )
    from open_eeg_bench.backbone import PretrainedBackbone
    from open_eeg_bench.dataset import Dataset, PredefinedSplitter
    from open_eeg_bench.experiment import Experiment
    from open_eeg_bench.head import FlattenHead, LinearHead
    from open_eeg_bench.training import RidgeProbingTraining, Training

    class Simulated(Dataset):
        def load(self):
            return windows

    splitter = PredefinedSplitter(
        metadata_key="subject", train_values=[1, 2], val_values=[3], test_values=[4]
    )
    ridge = strategy == "ridge_probe"
    experiment = Experiment(
        backbone=PretrainedBackbone(**arguments),
        head=FlattenHead() if ridge else LinearHead(),
        dataset=Simulated(
            hf_id="simulated", revision="0", n_classes=2, splitter=splitter
        ),
        training=RidgeProbingTraining()
        if ridge
        else Training(max_epochs=2, batch_size=8),
        verbose=0,
    )
    result = experiment.run()
    assert 0 <= result["test_balanced_accuracy"] <= 1
    assert np.isfinite(result["fit_time"])
