"""Checkpoints: what is loaded, what is said about it, and what is refused."""

import contextlib
import hashlib
import json
import multiprocessing
import os
import pickle
import shutil
import sys
import time

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from torch import nn

from braindecode_samba import (
    SAMBA,
    SAMBAReconstructor,
    chs_info_from_names,
    load_checkpoint,
)
from braindecode_samba.checkpoints import CheckpointError, open_checkpoint
from braindecode_samba.checkpoints.files import (
    read_checkpoint_files,
    read_tensors,
    shipped_checkpoints,
)
from braindecode_samba.pretraining.saving import write_checkpoint
from braindecode_samba.signals import to_colin27_mri

SMALL = {"d_state": 4, "expand": 2}
EMOTIV = "AF3 F7 F3 FC5 T7 P7 O1 O2 P8 T8 FC6 F4 F8 AF4".split()
NETWORKS = ("emotiv14_T256", "tuab16_T1003")


@pytest.fixture(scope="module")
def pretrained():
    """A small network as pretraining would save it."""
    torch.manual_seed(1)
    return SAMBAReconstructor(sfreq=128, **SMALL)


@pytest.fixture(scope="module")
def written(pretrained, tmp_path_factory):
    """Folder of its checkpoint; not to be changed."""
    folder = tmp_path_factory.mktemp("checkpoints") / "small"
    return write_checkpoint(folder, pretrained, {"epochs": 1}, "# card")


@pytest.fixture
def folder(written, tmp_path):
    """A copy to damage."""
    return shutil.copytree(written, tmp_path / "copy")


@pytest.fixture(scope="module")
def authors(golden_folder):
    """Parameters of the golden networks under the authors' names, by file."""
    networks = {}
    for name in NETWORKS:
        golden = load_file(golden_folder / f"{name}.safetensors")
        parameters = {
            key.removeprefix("param."): value
            for key, value in golden.items()
            if key.startswith("param.")
        }
        networks[name] = golden, parameters
    return networks


def same_trunk(model, other):
    mine, theirs = model.trunk.state_dict(), other.trunk.state_dict()
    assert mine.keys() == theirs.keys()
    return all(torch.equal(mine[k], theirs[k]) for k in mine if "scale" not in k)


def edit_config(folder, **changes):
    """Change entries of a configuration; None removes one."""
    path = folder / "config.json"
    config = json.loads(path.read_text())
    for name, value in changes.items():
        if value is None:
            del config[name]
        else:
            config[name] = value
    path.write_text(json.dumps(config))


def edit_tensors(folder, edit):
    """Change the tensors of a checkpoint, as if it had been written so."""
    tensors = load_file(folder / "model.safetensors")
    edit(tensors)
    save_file(tensors, folder / "model.safetensors")
    data = (folder / "model.safetensors").read_bytes()
    edit_config(folder, weights_sha256=hashlib.sha256(data).hexdigest())


# our own checkpoints


def test_a_classifier_gets_the_whole_trunk(written, pretrained, motor_chs_info):
    model, report = load_checkpoint(
        written, n_outputs=3, chs_info=motor_chs_info, sfreq=250
    )
    assert isinstance(model, SAMBA)
    assert same_trunk(model, pretrained)
    assert (model.n_outputs, model.n_chans, model.sfreq) == (3, 3, 250)
    assert not model.training
    saved = load_file(written / "model.safetensors")
    trunk = [name for name in saved if name.startswith("trunk.")]
    assert sorted(report.used) == sorted(trunk)
    assert sorted(report.left_over) == sorted(set(saved) - set(trunk))
    assert report.n_tensors == len(saved)
    parameters = [name for name, _ in model.named_parameters()]
    assert list(report.new) == [n for n in parameters if not n.startswith("trunk.")]


def test_a_reconstructor_comes_back_whole(written, pretrained, make_eeg):
    model, report = load_checkpoint(written, SAMBAReconstructor)
    assert report.new == report.left_over == ()
    assert report.n_tensors == len(pretrained.state_dict())
    x = make_eeg(2, 3, 64)
    pos = torch.rand(3, 3) * 0.1
    with torch.no_grad():
        assert torch.equal(model(x, pos), pretrained.eval()(x, pos))


def test_the_report_is_printed_once_and_names_parts_and_hash(written, capsys):
    _, report = load_checkpoint(written, n_outputs=2)
    said = capsys.readouterr().out
    assert said == f"{report}\n"
    n, total = len(report.used), report.n_tensors
    for part in (
        f"{n} of {total}",
        "head (",
        "final_layer (2)",
        "decoder (",
        "readout",
    ):
        assert part in said
    digest = hashlib.sha256((written / "model.safetensors").read_bytes()).hexdigest()
    assert report.sha256 == digest
    assert digest.startswith(report.short_hash)
    assert len(report.short_hash) == 12
    assert report.short_hash in said
    assert report.path == written / "model.safetensors"
    load_checkpoint(written, n_outputs=2, verbose=0)
    assert capsys.readouterr().out == ""


def test_the_head_starts_as_it_would_without_a_checkpoint(written):
    torch.manual_seed(5)
    model, _ = load_checkpoint(written, n_outputs=2)
    torch.manual_seed(5)
    fresh = SAMBA(n_outputs=2, **SMALL)
    assert torch.equal(model.final_layer.weight, fresh.final_layer.weight)
    assert torch.equal(model.head.deep[1].weight, fresh.head.deep[1].weight)


def test_options_of_the_trunk_come_from_the_checkpoint(tmp_path):
    options = {
        **SMALL,
        "scale": "channel",
        "spatial_init": "published",
        "model_sfreq": 100.0,
        "target_positions": [[0.0, 0.0, 0.1], [0.05, 0.0, 0.08], [0.0, 0.05, 0.08]],
        "coordinate_frame": "colin27_mri",
    }
    write_checkpoint(tmp_path / "a", SAMBAReconstructor(**options), {}, "")
    model, _ = load_checkpoint(tmp_path / "a", n_outputs=2)
    config = model.get_config()
    assert {name: config[name] for name in options} == options


def test_options_of_the_head_are_the_callers(written):
    model, _ = load_checkpoint(
        written, n_outputs=2, head="variance", activation=nn.GELU, drop_prob=0.1
    )
    assert model.head.band_power is None
    assert any(isinstance(module, nn.GELU) for module in model.head.modules())
    assert model.head.dropout.p == 0.1


@pytest.mark.parametrize(
    "given",
    [
        {"d_state": 8},
        {"scale": None},
        {"coordinate_frame": "colin27_mri"},
        {"model_sfreq": 100},
        {"target_positions": [[0.0, 0.0, 0.1]]},
    ],
)
def test_another_trunk_than_the_saved_one_is_refused(written, given):
    (name,) = given
    with pytest.raises(CheckpointError, match=f"made with {name}=.*leave"):
        load_checkpoint(written, n_outputs=2, **given)


def test_a_classifier_comes_back_with_its_head(tmp_path, motor_chs_info, make_eeg):
    options = {"n_outputs": 2, "chs_info": motor_chs_info, "sfreq": 250, "n_times": 500}
    model = SAMBA(**options, activation=nn.GELU, **SMALL).eval()
    model.save_pretrained(tmp_path)
    x = make_eeg(2, 3, 500)
    loaded, report = load_checkpoint(tmp_path)
    assert report.new == report.left_over == ()
    with torch.no_grad():
        assert torch.equal(loaded(x), model(x))
    assert loaded.get_config().keys() == model.get_config().keys()
    other, report = load_checkpoint(tmp_path, n_outputs=5)
    assert report.new == ("final_layer.weight", "final_layer.bias")
    assert sorted(report.left_over) == sorted(report.new)
    assert torch.equal(other.head.deep[1].weight, model.head.deep[1].weight)
    _, report = load_checkpoint(tmp_path, head="variance")
    assert "head.deep.1.weight" in report.new
    assert "final_layer.weight" in report.new


def test_a_reconstructor_that_braindecode_saved_fills_a_classifier(
    tmp_path, motor_chs_info
):
    options = {"chs_info": motor_chs_info, "sfreq": 250, "n_times": 500}
    model = SAMBAReconstructor(**options, **SMALL)
    model.save_pretrained(tmp_path)

    loaded, report = load_checkpoint(tmp_path, SAMBA, n_outputs=2)

    assert {name.split(".")[0] for name in report.used} == {"trunk"}
    weight = model.trunk.mediator.state_dict()
    for name, tensor in loaded.trunk.mediator.state_dict().items():
        assert torch.equal(tensor, weight[name])
    _, report = load_checkpoint(tmp_path, SAMBAReconstructor)
    assert report.new == report.left_over == ()


def test_an_activation_with_weights_comes_back(tmp_path):
    model = SAMBA(n_outputs=2, activation=nn.PReLU, **SMALL)
    nn.init.constant_(model.head.deep[2].weight, 0.7)
    model.save_pretrained(tmp_path)
    loaded, _ = load_checkpoint(tmp_path)
    assert loaded.head.deep[2].weight == 0.7
    SAMBA(n_outputs=2, **SMALL).save_pretrained(tmp_path / "b")
    with pytest.raises(CheckpointError, match=r"'head\.deep\.2\.weight'"):
        load_checkpoint(tmp_path / "b", activation=nn.PReLU)


def test_a_new_rate_keeps_no_old_length_and_a_new_length_keeps_the_rate(tmp_path):
    model = SAMBA(n_outputs=2, n_chans=3, sfreq=250, n_times=500, **SMALL)
    model.save_pretrained(tmp_path)
    loaded, _ = load_checkpoint(tmp_path, sfreq=160)
    assert loaded.sfreq == 160
    with pytest.raises(ValueError, match="n_times"):
        _ = loaded.n_times
    loaded, _ = load_checkpoint(tmp_path, n_times=750)
    assert (loaded.sfreq, loaded.n_times) == (250, 750)
    loaded, _ = load_checkpoint(tmp_path, chs_info=chs_info_from_names(["Cz"]))
    assert loaded.n_chans == 1


def test_both_models_load_through_from_pretrained(written, pretrained, capsys):
    model = SAMBA.from_pretrained(written, n_outputs=2)
    assert isinstance(model, SAMBA)
    assert same_trunk(model, pretrained)
    assert "tensors used" in capsys.readouterr().out
    rebuilt = SAMBAReconstructor.from_pretrained(str(written), verbose=0)
    assert isinstance(rebuilt, SAMBAReconstructor)
    assert capsys.readouterr().out == ""
    with pytest.raises(CheckpointError, match="n_outputs"):
        SAMBA.from_pretrained(written)


def test_a_pickle_of_plain_tensors_loads(written, folder, pretrained):
    (folder / "model.safetensors").unlink()
    for path, wrapped in (("a.pt", None), ("b.ckpt", "state_dict")):
        state = {f"model.{k}": v for k, v in pretrained.state_dict().items()}
        torch.save({wrapped: state, "epoch": 3} if wrapped else state, folder / path)
        edit_config(folder, weights_sha256=None) if path == "a.pt" else None
        model, report = load_checkpoint(folder / path, SAMBAReconstructor)
        assert report.n_tensors == len(report.used) == len(state)
        assert same_trunk(model, pretrained)


# names


@pytest.fixture
def shipped(written, tmp_path, monkeypatch):
    """Let the small checkpoint be one that ships."""
    root = tmp_path / "shipped"
    shutil.copytree(written, root / "samba-e")
    (root / "README.md").write_text("")
    monkeypatch.setattr(
        "braindecode_samba.checkpoints.files.data_folder", lambda kind: root
    )
    return root


def test_a_shipped_checkpoint_loads_by_name(shipped, pretrained, monkeypatch):
    assert list(shipped_checkpoints()) == ["samba-e"]
    model, report = load_checkpoint("samba-e", n_outputs=2)
    assert same_trunk(model, pretrained)
    assert report.name == "samba-e"
    # a folder of the same name does not hide it
    (shipped.parent / "work" / "samba-e").mkdir(parents=True)
    monkeypatch.chdir(shipped.parent / "work")
    assert load_checkpoint("samba-e", n_outputs=2)[1].path == (
        shipped / "samba-e" / "model.safetensors"
    )


@pytest.mark.parametrize("name", ["samba-x", "", "./nothing", "a/b/c", "x.safetensors"])
def test_an_unknown_name_is_refused_with_those_that_ship(shipped, name):
    start = time.monotonic()
    with pytest.raises(CheckpointError, match="samba-e"):
        load_checkpoint(name, n_outputs=2)
    assert time.monotonic() - start < 2


def test_what_is_no_name_is_refused(tmp_path):
    with pytest.raises(TypeError, match="int"):
        load_checkpoint(3)
    with pytest.raises(CheckpointError, match="nothing"):
        load_checkpoint(tmp_path / "nothing")
    with pytest.raises(TypeError, match="model_class"):
        load_checkpoint(tmp_path, nn.Linear)


def hub_cache(cache, owner, name, source):
    """Lay out a repository as huggingface_hub keeps it."""
    commit = "0123456789abcdef0123456789abcdef01234567"
    root = cache / f"models--{owner}--{name}"
    (root / "refs").mkdir(parents=True)
    (root / "refs" / "main").write_text(commit)
    shutil.copytree(source, root / "snapshots" / commit)
    return root / "snapshots" / commit


def test_a_hub_name_loads_from_the_cache(written, pretrained, tmp_path):
    snapshot = hub_cache(tmp_path, "owner", "model", written)
    model = SAMBA.from_pretrained("owner/model", n_outputs=2, cache_dir=tmp_path)
    assert same_trunk(model, pretrained)
    (snapshot / "model.safetensors").rename(snapshot / "best.safetensors")
    (snapshot / "other.pt").write_bytes(b"")
    arguments = {"n_outputs": 2, "cache_dir": tmp_path, "local_files_only": True}
    with pytest.raises(CheckpointError, match=r"best\.saf.*other\.pt.*filename"):
        load_checkpoint("owner/model", **arguments)
    _, report = load_checkpoint("owner/model", filename="best.safetensors", **arguments)
    assert report.path.name == "best.safetensors"


def test_strange_names_of_a_hub_repository_are_listed(tmp_path):
    source = tmp_path / "source"
    source.mkdir()
    save_file({"backbone.0.w": torch.ones(2)}, source / "model.safetensors")
    hub_cache(tmp_path, "authors", "samba", source)
    with pytest.raises(CheckpointError, match=r"saie\.net.*found.*'backbone\.0\.w'"):
        load_checkpoint("authors/samba", n_outputs=2, cache_dir=tmp_path)


def test_a_hub_name_that_is_not_cached_is_refused_offline(tmp_path):
    with pytest.raises(CheckpointError, match="'owner/model'.*hub"):
        load_checkpoint("owner/model", n_outputs=2, cache_dir=tmp_path)


# the authors' files


@pytest.mark.parametrize("prefix", ["", "model.", "module.", "model.module."])
@pytest.mark.parametrize("name", NETWORKS)
@torch.no_grad()
def test_every_tensor_of_the_authors_is_used(authors, name, prefix, tmp_path):
    golden, parameters = authors[name]
    save_file(
        {prefix + k: v for k, v in parameters.items()}, tmp_path / "a.safetensors"
    )
    model, report = load_checkpoint(tmp_path / "a.safetensors", SAMBAReconstructor)
    assert sorted(report.used) == sorted(parameters)
    assert len(report.used) == 204
    assert report.new == report.left_over == ()
    assert model.get_config()["coordinate_frame"] == "colin27_mri"
    # positions come in the head frame; to_colin27_mri takes them to that of the file
    here = golden["positions"].numpy()
    turn = to_colin27_mri(np.eye(3)) - to_colin27_mri(np.zeros((3, 3)))
    pos = (here - to_colin27_mri(np.zeros((1, 3)))) @ np.linalg.inv(turn)
    pos = torch.tensor(pos, dtype=torch.float32)
    stages = model(golden["x"], pos, return_features=True)
    assert (stages["weights"] - golden["weights"]).abs().max() <= 1e-5
    assert (stages["output"] - golden["out"]).abs().max() <= 1e-4 * golden[
        "out"
    ].abs().max()


@torch.no_grad()
def test_electrodes_of_the_authors_come_by_name(authors, tmp_path):
    golden, parameters = authors["emotiv14_T256"]
    torch.save({"model_state_dict": parameters}, tmp_path / "a.pth")
    model, _ = load_checkpoint(
        tmp_path / "a.pth", SAMBAReconstructor, chs_info=chs_info_from_names(EMOTIV)
    )
    assert (model.spatial_weights() - golden["weights"]).abs().max() <= 1e-5
    with pytest.raises(CheckpointError, match=r"'onput_embedding.*\(14,.*\(3,"):
        load_checkpoint(
            tmp_path / "a.pth",
            SAMBAReconstructor,
            chs_info=chs_info_from_names(["C3", "Cz", "C4"]),
        )


def test_a_classifier_gets_the_authors_trunk(authors, motor_chs_info, tmp_path):
    _, parameters = authors["emotiv14_T256"]
    save_file(parameters, tmp_path / "a.safetensors")
    model, report = load_checkpoint(
        tmp_path / "a.safetensors",
        n_outputs=2,
        chs_info=motor_chs_info,
        scale="window",
    )
    decoder = ("decode", "onput")
    assert sorted(report.left_over) == sorted(
        name for name in parameters if name.startswith(decoder)
    )
    assert {name.split(".")[0] for name in report.new} == {"head", "final_layer"}
    assert torch.equal(model.trunk.encoder.conv2.weight, parameters["encoder2.weight"])
    assert model.trunk.signal.scale == "window"


@pytest.mark.parametrize("model_class", [SAMBA, SAMBAReconstructor])
@pytest.mark.parametrize(
    "name",
    [
        "encoder2.weight",
        "encoder1.1.mamba.conv1d.weight",
        "onput_embedding.bias",
        "bottleneck.1.block.team2.7.dt_bias",
        "decodeMamba3.norm.weight",
    ],
)
@pytest.mark.parametrize("fault", ["missing", "misnamed", "misshapen", "nan"])
def test_a_faulty_tensor_of_the_authors_is_named(
    authors, model_class, name, fault, tmp_path
):
    state = dict(authors["emotiv14_T256"][1])
    value = state.pop(name)
    said = f"'{name}'"
    if fault == "misnamed":
        state[f"{name}_"] = value
        said = f"'{name}_?'"
    elif fault == "misshapen":
        state[name] = value[1:].clone()
    elif fault == "nan":
        state[name] = torch.full_like(value, torch.nan)
    save_file(state, tmp_path / "a.safetensors")
    with pytest.raises(CheckpointError, match=rf"a\.safetensors.*{said}"):
        load_checkpoint(tmp_path / "a.safetensors", model_class, n_outputs=2)


# what is refused


TENSORS = [
    "trunk.encoder.conv2.weight",
    "trunk.encoder.mamba1.mamba.conv1d.weight",
    "trunk.mediator.mdm.lam",
    "trunk.spatial.target_positions",
    "decoder.conv1.bias",
    "readout.weights.kappa",
]


@pytest.mark.parametrize("model_class", [SAMBA, SAMBAReconstructor])
@pytest.mark.parametrize("name", TENSORS)
@pytest.mark.parametrize("fault", ["missing", "misnamed", "misshapen", "nan", "whole"])
def test_a_faulty_tensor_is_named(folder, model_class, name, fault):
    def edit(tensors):
        value = tensors.pop(name)
        if fault == "misnamed":
            tensors[f"{name}_"] = value
        elif fault == "misshapen":
            tensors[name] = torch.cat([value.reshape(-1), torch.ones(1)])
        elif fault == "nan":
            tensors[name] = torch.full_like(value, torch.inf)
        elif fault == "whole":
            tensors[name] = value.to(torch.int64)

    edit_tensors(folder, edit)
    said = f"{name}_" if fault == "misnamed" else name
    with pytest.raises(
        CheckpointError, match=rf"model\.safetensors.*'{said}'"
    ) as error:
        load_checkpoint(folder, model_class, n_outputs=2)
    assert "\n" not in str(error.value)


def test_a_strange_tensor_is_named(folder):
    edit_tensors(folder, lambda tensors: tensors.update(extra=torch.ones(1)))
    with pytest.raises(CheckpointError, match="'extra'"):
        load_checkpoint(folder, n_outputs=2)


def test_other_targets_than_the_configuration_says_are_refused(folder):
    name = "trunk.spatial.target_positions"
    edit_tensors(folder, lambda tensors: tensors[name].add_(0.01))
    with pytest.raises(CheckpointError, match=f"'{name}'.*config.json"):
        load_checkpoint(folder, n_outputs=2)


def test_no_match_at_all_is_refused_with_both_kinds_of_names(tmp_path):
    save_file({"weight": torch.ones(2, 2)}, tmp_path / "a.safetensors")
    with pytest.raises(CheckpointError, match=r"no tensor.*trunk\..*found.*'weight'"):
        load_checkpoint(tmp_path / "a.safetensors", n_outputs=2)
    save_file({}, tmp_path / "a.safetensors")
    with pytest.raises(CheckpointError, match="no tensor"):
        load_checkpoint(tmp_path / "a.safetensors", n_outputs=2)


@pytest.mark.parametrize("kept", [0.0, 1e-5, 0.01, 0.5, 0.999])
@pytest.mark.parametrize("suffix", [".safetensors", ".pt"])
def test_a_truncated_file_is_refused(folder, pretrained, kept, suffix):
    path = folder / f"model{suffix}"
    if suffix == ".pt":
        torch.save(pretrained.state_dict(), path)
    data = path.read_bytes()
    path.write_bytes(data[: int(kept * len(data))])
    edit_config(folder, weights_sha256=None)
    with pytest.raises(CheckpointError, match=rf"model\{suffix}"):
        load_checkpoint(path, n_outputs=2)


def test_one_changed_byte_is_noticed(folder):
    data = bytearray((folder / "model.safetensors").read_bytes())
    data[-10] ^= 1
    (folder / "model.safetensors").write_bytes(data)
    with pytest.raises(CheckpointError, match="SHA-256"):
        load_checkpoint(folder, n_outputs=2)


class Code:
    """What a pickle may run when it is read."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("suffix", ["pt", "pth", "ckpt", "bin"])
def test_a_pickle_with_code_is_refused_and_not_run(folder, pretrained, suffix):
    path, trace = folder / f"model.{suffix}", folder / "trace"
    state = {**pretrained.state_dict(), "x": Code(trace)}
    torch.save({"state_dict": state}, path)
    with pytest.raises(CheckpointError, match=rf"model\.{suffix}.*mkdir") as error:
        load_checkpoint(path, n_outputs=2)
    assert "\n" not in str(error.value)
    path.write_bytes(pickle.dumps(Code(trace), protocol=2))
    with pytest.raises(CheckpointError, match=rf"model\.{suffix}"):
        load_checkpoint(path, n_outputs=2)
    assert not trace.exists()


@pytest.mark.parametrize("content", [3, [torch.ones(2)], {"a": 1}, {3: torch.ones(1)}])
def test_a_pickle_of_something_else_is_refused(tmp_path, content):
    torch.save(content, tmp_path / "a.pt")
    with pytest.raises(CheckpointError, match=r"a\.pt holds"):
        load_checkpoint(tmp_path / "a.pt", n_outputs=2)


def test_names_that_differ_by_a_prefix_alone_are_refused(tmp_path):
    save_file(
        {"model.a": torch.ones(1), "a": torch.ones(1)}, tmp_path / "a.safetensors"
    )
    with pytest.raises(CheckpointError, match="'a' twice"):
        load_checkpoint(tmp_path / "a.safetensors", n_outputs=2)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(data=st.binary(max_size=300), suffix=st.sampled_from(["safetensors", "pt"]))
def test_random_bytes_are_refused_as_weights(tmp_path, data, suffix):
    path = tmp_path / f"a.{suffix}"
    path.write_bytes(data)
    with pytest.raises(CheckpointError, match=rf"a\.{suffix}"):
        load_checkpoint(path, n_outputs=2)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(data=st.data())
def test_a_damaged_header_is_refused_or_harmless(written, tmp_path, data):
    whole = (written / "model.safetensors").read_bytes()
    place = data.draw(st.integers(0, 400))
    damaged = bytearray(whole)
    damaged[place] = data.draw(st.integers(0, 255))
    (tmp_path / "a.safetensors").write_bytes(damaged)
    config = json.loads((written / "config.json").read_text())
    del config["weights_sha256"]
    (tmp_path / "config.json").write_text(json.dumps(config))
    report = None
    with contextlib.suppress(CheckpointError):  # and nothing else
        _, report = load_checkpoint(tmp_path, n_outputs=2)
    assert report is None or report.n_tensors == 213


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)
@given(data=st.one_of(st.binary(max_size=60), st.just(b"[" * 100_000)))
def test_random_bytes_are_refused_as_configuration(written, tmp_path, data):
    shutil.copy(written / "model.safetensors", tmp_path)
    (tmp_path / "config.json").write_bytes(data)
    with pytest.raises(CheckpointError, match=r"config\.json"):
        load_checkpoint(tmp_path, n_outputs=2)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(max_size=3), inner, max_size=2)
    ),
    max_leaves=4,
)
OPTIONS = [
    name
    for name in SAMBAReconstructor(**SMALL).get_config()
    if name not in ("n_outputs", "n_times", "input_window_seconds")
]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=80)
@given(option=st.sampled_from(OPTIONS), value=JSON)
def test_any_value_of_an_option_loads_or_is_refused(written, tmp_path, option, value):
    shutil.copy(written / "model.safetensors", tmp_path)
    config = json.loads((written / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, option: value}))
    report = None
    with contextlib.suppress(CheckpointError):  # and nothing else
        _, report = load_checkpoint(tmp_path, SAMBAReconstructor, verbose=0)
    assert report is None or len(report.used) == 213


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"d_state": 8}, "d_state=8.*d_state=4"),
        ({"d_state": "4"}, "'d_state'"),
        ({"expand": None}, "'expand'"),
        ({"expand": True}, "'expand'"),
        ({"scale": "loud"}, "scale='loud'"),
        ({"coordinate_frame": 3}, "'coordinate_frame'"),
        ({"coordinate_frame": "mars"}, "coordinate_frame='mars'"),
        ({"readout": "none"}, "readout='none'"),
        ({"target_positions": [[0, 0, "x"]]}, "'target_positions"),
        ({"chs_info": [{"loc": [0.0, 0.0, 0.0]}]}, "'chs_info"),
        ({"chs_info": [{"ch_name": "Cz", "loc": [0.0]}]}, "'chs_info"),
        ({"n_layers": 3}, "'n_layers'"),
        ({"pretraining": 3}, "'pretraining'"),
        (
            {"head": "power", "surround": 1.0, "numbers": False, "evoked_seconds": 1.0},
            "'activation'",
        ),
        ({"weights_sha256": 3}, "SHA-256 3"),
    ],
)
def test_a_configuration_that_is_not_ours_is_refused(folder, changes, said):
    edit_config(folder, **changes)
    with pytest.raises(CheckpointError, match=rf"config\.json.*{said}") as error:
        load_checkpoint(folder, n_outputs=2)
    assert "\n" not in str(error.value)


def test_a_missing_configuration_is_named(folder):
    (folder / "config.json").unlink()
    with pytest.raises(CheckpointError, match=r"config\.json is missing"):
        load_checkpoint(folder, n_outputs=2)


def test_a_configuration_runs_no_code(tmp_path):
    SAMBA(n_outputs=2, **SMALL).save_pretrained(tmp_path)
    edit_config(tmp_path, activation="antigravity.fly")
    with pytest.raises(CheckpointError, match="'antigravity.fly'"):
        load_checkpoint(tmp_path)
    assert "antigravity" not in sys.modules
    model, _ = load_checkpoint(tmp_path, activation=nn.ReLU)
    assert any(isinstance(module, nn.ReLU) for module in model.head.modules())


def test_strange_arguments_are_refused(written):
    with pytest.raises(TypeError, match="'n_layers'.*d_state"):
        load_checkpoint(written, n_outputs=2, n_layers=3)
    with pytest.raises(TypeError, match="'readout'"):
        load_checkpoint(written, n_outputs=2, readout="electrode")


def test_a_folder_without_weights_is_refused(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(CheckpointError, match=r"no model\.safetensors"):
        load_checkpoint(tmp_path, n_outputs=2)
    (tmp_path / "notes.txt").write_text("")
    with pytest.raises(CheckpointError, match=r"notes\.txt ends in none of"):
        load_checkpoint(tmp_path / "notes.txt", n_outputs=2)


def test_a_refused_checkpoint_leaves_the_model_as_it_was(folder, written):
    model = SAMBA(n_outputs=2, d_state=8, expand=2)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(CheckpointError, match="shape"):
        open_checkpoint(written).fill(model)
    after = model.state_dict()
    assert all(torch.equal(v, after[k]) for k, v in before.items() if "scale" not in k)


# several processes


def load_often(folder, n_loads, ready, results):
    """Load again and again, reading far more often; tell what was seen."""
    seen = set()
    ready.wait()
    try:
        for _ in range(n_loads):
            for _ in range(25):
                files = read_checkpoint_files(folder)
                weight = read_tensors(files)["trunk.encoder.conv2.weight"]
                seen.add((files.config["n_chans"], *weight.flatten()[:8].tolist()))
            model, _ = load_checkpoint(folder, SAMBAReconstructor, verbose=0)
            weight = model.trunk.encoder.conv2.weight
            seen.add((model.n_chans, *weight.flatten()[:8].tolist()))
    except Exception as error:
        results.put(repr(error))
        return
    results.put(seen)


def test_two_processes_load_whole_files_while_a_third_saves(tmp_path):
    # the number of channels is in the configuration alone: both must be of one version
    models = [SAMBAReconstructor(n_chans=n, **SMALL) for n in (1, 2)]
    folder = write_checkpoint(tmp_path / "a", models[0], {}, "")
    context = multiprocessing.get_context("spawn")
    results, ready = context.Queue(), context.Barrier(3)
    readers = [
        context.Process(target=load_often, args=(folder, 5, ready, results))
        for _ in range(2)
    ]
    for reader in readers:
        reader.start()
    ready.wait(timeout=120)
    n_saved = 0
    while any(reader.is_alive() for reader in readers):
        write_checkpoint(folder, models[n_saved % 2], {}, "")
        n_saved += 1
    whole = {
        (model.n_chans, *model.trunk.encoder.conv2.weight.flatten()[:8].tolist())
        for model in models
    }
    for reader in readers:
        assert results.get(timeout=10) == whole
        reader.join()
    assert n_saved > 10
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_weights_of_one_version_never_go_with_the_configuration_of_another(
    written, tmp_path
):
    folder = shutil.copytree(written, tmp_path / "a")
    other = SAMBAReconstructor(n_chans=2, **SMALL)
    write_checkpoint(tmp_path / "b", other, {}, "")
    shutil.copy(tmp_path / "b" / "config.json", folder)
    with pytest.raises(CheckpointError, match="belongs to weights"):
        load_checkpoint(folder, SAMBAReconstructor)
    # beside a configuration that a save had no time to name, and one that is cut off
    (folder / ".config.json.01.part").write_text("{")
    shutil.copy(written / "config.json", folder / ".config.json.02.part")
    model, _ = load_checkpoint(folder, SAMBAReconstructor)
    assert model.get_config()["n_chans"] is None
    assert not same_trunk(model, other)
