"""Draws of ours come from a seed, and nobody else's are disturbed, in threads either.

`Strict` sees every operation of torch and fails when one would draw from the generator
of the process: that is how the absence of such draws is shown, beside equal numbers.
"""

import copy
import random
import threading

import joblib
import numpy as np
import pytest
import torch
from sklearn.base import clone
from skorch.callbacks import Callback
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from braindecode_samba import (
    SAMBA,
    SAMBAClassifier,
    SAMBAFeatures,
    SAMBARegressor,
    chs_info_from_names,
    load_checkpoint,
)
from braindecode_samba.evaluation.nets import BraindecodeNet, ProbeNet
from braindecode_samba.nn.randomness import seeded
from braindecode_samba.pretraining import SAMBAPretrainer

NAMES = ("C3", "Cz", "C4")
SMALL = {"d_state": 4, "expand": 2}
X = np.random.default_rng(0).standard_normal((12, 3, 64))
Y = np.arange(12) % 2
GROUPS = np.arange(12) // 6
TOLD = {"ch_names": NAMES, "sfreq": 128}
GRADIENTS = {"start": "random", "checkpoint": None, "max_epochs": 2}
ESTIMATORS = {
    "solved": SAMBAClassifier(**TOLD, random_state=0),
    "gradients": SAMBAClassifier(
        **TOLD,
        **GRADIENTS,
        model_params=SMALL | {"drop_prob": 0.5},
        batch_size=4,
        random_state=0,
    ),
    "solved, then gradients": SAMBAClassifier(
        **TOLD, max_epochs=1, model_params={"drop_prob": 0.5}, random_state=0
    ),
    "regressor": SAMBARegressor(
        **TOLD, model_params=SMALL, **GRADIENTS, random_state=3
    ),
    "features": SAMBAFeatures(
        **TOLD, model_params=SMALL, checkpoint=None, random_state=0
    ),
    "probe": ProbeNet(max_epochs=3, random_state=0),
    "EEGNet": BraindecodeNet("EEGNet", max_epochs=2, random_state=0),
    "pretrainer": SAMBAPretrainer(
        **TOLD,
        max_epochs=2,
        batch_size=4,
        random_state=0,
        verbose=0,
        **{f"module__{name}": value for name, value in SMALL.items()},
    ),
}


class Strict(TorchDispatchMode):
    """Refuse what draws from the generator of the process."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        # dropout, which is made of others, says so when it is seen before these
        made_of_others = func is torch.ops.aten.dropout.default
        if torch.Tag.nondeterministic_seeded in func.tags and not made_of_others:
            given = (*args, *kwargs.values())
            assert any(isinstance(one, torch.Generator) for one in given), func
        if made_of_others:
            with self:
                return func.decompose(*args, **kwargs)
        return func(*args, **kwargs)


def learn(estimator):
    """Fit a clone, and give all that it has learnt."""
    fitted = clone(estimator)
    if isinstance(fitted, SAMBAPretrainer):
        fitted.fit(X)
        return list(fitted.module_.state_dict().values())
    x = X.reshape(12, -1) if isinstance(fitted, ProbeNet) else X
    known = isinstance(fitted, SAMBAClassifier | SAMBARegressor)
    fitted.fit(x, Y, **({"groups": GROUPS} if known else {}))
    network = fitted.model_ if hasattr(fitted, "model_") else fitted.net_.module_
    return list(network.state_dict().values())


def same(one, other):
    return all(
        torch.equal(a.nan_to_num(7.0), b.nan_to_num(7.0))
        for a, b in zip(one, other, strict=True)
    )


def states():
    return (
        torch.get_rng_state().tolist(),
        str(np.random.get_state()),  # noqa: NPY002
        random.getstate(),
    )


@pytest.mark.parametrize("name", ESTIMATORS)
def test_no_fit_draws_from_the_process(name):
    before = states()
    with Strict():
        learn(ESTIMATORS[name])
    assert states() == before


@pytest.mark.parametrize("name", ESTIMATORS)
def test_fits_in_threads_equal_fits_alone(name):
    alone = learn(ESTIMATORS[name])
    before = states()
    # whoever draws beside the fits gets the numbers that he would get alone
    torch.manual_seed(5)
    wanted = torch.rand(2000)
    torch.manual_seed(5)
    done, drawn = threading.Event(), []

    def draw():
        for _ in range(2000):
            drawn.append(torch.rand(1))
            done.wait(0.0005)

    beside = threading.Thread(target=draw)
    beside.start()
    together = joblib.Parallel(n_jobs=3, backend="threading")(
        joblib.delayed(learn)(ESTIMATORS[name]) for _ in range(4)
    )
    done.set()
    beside.join()
    assert all(same(found, alone) for found in together)
    assert torch.equal(torch.cat(drawn), wanted)
    assert states()[1:] == before[1:]


def everything_random():
    x = torch.randn(3, 4, requires_grad=True)
    functional = torch.nn.functional
    return {
        "dropout": nn.Dropout(0.5)(nn.Linear(4, 5)(x)),
        "channels": nn.Dropout2d(0.5)(torch.ones(1, 3, 4)),
        "alpha": nn.AlphaDropout(0.3)(x),
        "rrelu": functional.rrelu(x, training=True),
        "gumbel": functional.gumbel_softmax(x),
        "fused": torch.native_dropout(x, 0.5, True)[0],
        "lstm": nn.LSTM(4, 3, 2, dropout=0.5)(x)[0],
        "attention": nn.MultiheadAttention(4, 2, dropout=0.3)(x, x, x)[0],
        "permutation": torch.randperm(9),
        "integers": torch.randint(0, 99, (5,)),
        "integers below": torch.randint(99, (5,)),
        "like": torch.rand_like(x),
        "integers like": torch.randint_like(x, 0, 99),
        "integers like, below": torch.randint_like(x, 99),
        "multinomial": torch.multinomial(torch.ones(9), 4),
        "normal": torch.normal(0.0, 1.0, (5,)),
        "in place": torch.empty(5).exponential_(),
        "orthogonal": nn.init.orthogonal_(torch.empty(3, 3)),
    }


def test_whatever_draws_is_seeded():
    before = states()
    with Strict():
        with seeded(3):
            first = everything_random()
        with seeded(3):
            again = everything_random()
        with seeded(4):
            other = everything_random()
    assert states() == before
    for name, values in first.items():
        assert torch.equal(values, again[name]), name
        assert not torch.equal(values, other[name]), name


def test_dropout_has_its_share_and_its_gradient():
    x = torch.ones(4000, requires_grad=True)
    with seeded(0):
        y = nn.functional.dropout(x, 0.25)
        fused, kept = torch.native_dropout(x, 0.25, True)
    for found in (y, fused):
        assert sorted(set(found.tolist())) == pytest.approx([0.0, 4 / 3])
        assert (found == 0).float().mean() == pytest.approx(0.25, abs=0.03)
    fused.sum().backward()
    torch.testing.assert_close(x.grad, kept * (4 / 3))


def test_seeds_nest_and_callers_keep_their_own():
    with seeded(1):
        a = torch.rand(2)
        with seeded(2):
            torch.rand(7)
        b = torch.rand(2)
    with seeded(1):
        assert torch.equal(torch.cat([a, b]), torch.cat([torch.rand(2), torch.rand(2)]))


def test_building_and_loading_a_network_without_a_seed_is_the_callers_draw():
    chs_info = chs_info_from_names(NAMES)
    with seeded(1):
        models = [SAMBA(n_outputs=2, chs_info=chs_info, **SMALL) for _ in range(2)]
    assert not same(*(list(model.state_dict().values()) for model in models))
    # weights that are read need no draws but those of what they lack, the head
    with Strict(), seeded(0):
        load_checkpoint("samba-e", n_outputs=2, chs_info=chs_info, verbose=0)


def test_a_callback_that_draws_stays_in_the_fit():
    class Draw(Callback):
        def on_batch_end(self, net, **kwargs):
            torch.rand(3)

    before = states()
    estimator = copy.deepcopy(ESTIMATORS["gradients"]).set_params(callbacks=[Draw()])
    estimator.fit(X, Y)
    assert states() == before


@pytest.mark.parametrize("random_state", [None, 7, np.random.RandomState(1)])  # noqa: NPY002
def test_any_random_state_leaves_the_process_alone(random_state):
    before = states()
    with Strict():
        SAMBAClassifier(**TOLD, random_state=random_state).fit(X, Y)
    assert states() == before
