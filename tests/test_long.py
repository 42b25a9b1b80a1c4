"""Long windows and signals in pieces give what one pass over all samples gives."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from braindecode_samba import SAMBA, SAMBAReconstructor
from braindecode_samba.nn import long
from braindecode_samba.nn.pieces import Convolution, Moments, Pool, TrunkPieces
from braindecode_samba.nn.trunk import LAYERS

SMALL = {"d_state": 4, "expand": 2}


@pytest.fixture(autouse=True)
def short_pieces(monkeypatch):
    monkeypatch.setattr(long, "PIECE", 64)


def worst(a, b):
    return float((a - b).abs().max() / b.abs().max())


@pytest.mark.parametrize(
    "options",
    [{}, {"head": "variance"}, {"head": "readings"}, {"scale": None}],
    ids=str,
)
@pytest.mark.parametrize("n_times", [129, 257, 1000, 1003])
def test_classifier_is_equal_with_and_without_pieces(
    scalp_chs_info, make_eeg, n_times, options
):
    model = SAMBA(2, chs_info=scalp_chs_info, **options).eval()
    x = make_eeg(2, 9, n_times) * (1e5 if options.get("scale", 1) is None else 1)
    present = torch.ones(2, 9, dtype=torch.bool)
    present[1, 3:5] = False
    whole = model(x, ch_mask=present).detach()
    with torch.no_grad():
        assert long.goes_in_pieces(x)
        pieces = model(x, ch_mask=present)
        features = model(x, ch_mask=present, return_features=True)["features"]
    assert worst(pieces, whole) < 1e-5
    torch.testing.assert_close(model.final_layer(features), pieces)


@pytest.mark.parametrize("n_times", [129, 257, 1000, 1003])
@pytest.mark.parametrize("readout", ["coordinate", "electrode"])
def test_reconstructor_is_equal_with_and_without_pieces(
    scalp_chs_info, make_eeg, n_times, readout
):
    model = SAMBAReconstructor(chs_info=scalp_chs_info, readout=readout).eval()
    x = make_eeg(2, 9, n_times)
    pos = model.trunk.positions.default + torch.randn(2, 9, 3) * 0.003
    present = torch.ones(2, 9, dtype=torch.bool)
    present[0, 2] = False
    whole = model(x, pos, present).detach()
    with torch.no_grad():
        pieces = model(x, pos, present)
    assert pieces.shape == whole.shape
    assert worst(pieces, whole) < 2e-5


def test_pieces_are_left_to_inputs_that_need_no_gradients(motor_chs_info, make_eeg):
    model = SAMBA(2, chs_info=motor_chs_info, **SMALL)
    x = make_eeg(1, 3, 1000).requires_grad_()
    assert not long.goes_in_pieces(x)
    model(x).sum().backward()
    assert x.grad.abs().sum() > 0
    with torch.no_grad():
        assert not long.goes_in_pieces(x[:, :, :128])


def test_dropout_works_on_long_windows_too(motor_chs_info, make_eeg):
    model = SAMBA(2, chs_info=motor_chs_info, **SMALL).train()
    with torch.no_grad():
        assert not torch.equal(model(make_eeg(1, 3, 500)), model(make_eeg(1, 3, 500)))


@pytest.fixture(scope="module")
def trunk(motor_chs_info):
    return SAMBA(2, chs_info=motor_chs_info, **SMALL).trunk.eval()


@settings(max_examples=30, deadline=None)
@given(
    n_times=st.integers(8, 90),
    cuts=st.lists(st.integers(0, 90), max_size=6),
    layer=st.sampled_from(LAYERS),
)
def test_any_cuts_give_every_layer_of_one_pass(trunk, n_times, cuts, layer):
    x = torch.randn(2, 3, n_times, generator=torch.Generator().manual_seed(n_times))
    with torch.no_grad():
        _, signals, weights = trunk.begin(x, None, None)
        whole = trunk.encode(x, layer=layer)
        edges = sorted({0, n_times, *(cut for cut in cuts if cut < n_times)})
        statistics = None
        for _ in range(2 if layer == "mediator" else 1):
            pieces = TrunkPieces(trunk, weights, layer, statistics)
            parts = []
            for start, stop in zip(edges[:-1], edges[1:], strict=True):
                ready = pieces.push(signals[:, :, start:stop], stop == n_times)
                if layer in ready:
                    parts.append(ready[layer])
            if layer == "mediator":
                statistics = pieces.mediation.statistics()
    cut = torch.cat(parts, dim=2)
    assert cut.shape == whole.shape
    assert worst(cut, whole) < 2e-5


def test_a_signal_may_end_without_further_samples(trunk):
    with torch.no_grad():
        x = torch.randn(1, 3, 40)
        _, signals, weights = trunk.begin(x, None, None)
        pieces = TrunkPieces(trunk, weights, "encoder2")
        ready = [pieces.push(signals, False), pieces.push(None, True)]
        cut = torch.cat([r["encoder2"] for r in ready if "encoder2" in r], dim=2)
        assert worst(cut, trunk.encode(x, layer="encoder2")) < 1e-5


def test_what_is_ready_is_never_taken_back(trunk):
    """A piece's outputs don't depend on what follows: the promise behind streaming."""
    with torch.no_grad():
        x = torch.randn(1, 3, 64)
        _, signals, weights = trunk.begin(x, None, None)
        other = signals.clone()
        other[:, :, 32:] *= -3
        first, second = (
            TrunkPieces(trunk, weights, "pool3").push(s[:, :, :32], False)
            for s in (signals, other)
        )
        assert set(first) >= {"encoder1", "encoder2", "encoder3", "pool3"}
        for layer in first:
            torch.testing.assert_close(first[layer], second[layer])


def test_a_convolution_waits_for_the_samples_to_come():
    weight = torch.tensor([[[1.0, 2.0, 3.0]]])
    convolution = Convolution(weight, None)
    assert convolution.push(torch.tensor([[[1.0]]]), False) is None
    assert convolution.push(torch.tensor([[[2.0]]]), False).tolist() == [[[8.0]]]
    assert convolution.push(None, True).tolist() == [[[5.0]]]


def test_a_pool_keeps_the_odd_sample():
    pool = Pool()
    assert pool.push(torch.tensor([[[1.0]]]), False) is None
    assert pool.push(torch.tensor([[[3.0, 2.0]]]), False).tolist() == [[[3.0]]]
    assert pool.push(None, True) is None


def test_moments_of_pieces_are_those_of_the_whole():
    x = torch.randn(3, 1000) * 2 + 50
    moments = Moments()
    for part in x.split(77, 1):
        moments.add(part)
    torch.testing.assert_close(moments.mean(), x.mean(1))
    torch.testing.assert_close(moments.variance(), x.var(1, correction=0))
