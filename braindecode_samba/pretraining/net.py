"""The net that pretrains: skorch's training loop around a reconstructor and its masks.

What drives a run (schedules, checkpoints, probes) is in
`braindecode_samba.pretraining.callbacks`, what a trained net does with windows in
`braindecode_samba.pretraining.reconstruction`, and several processes in
`braindecode_samba.pretraining.accelerated`.
"""

import math
import os
from collections.abc import Callable, Sequence
from numbers import Integral
from typing import Any, Self, cast

import numpy as np
import torch
from sklearn.utils import check_scalar
from skorch.callbacks import GradientNormClipping, PassthroughScoring
from skorch.utils import to_tensor
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from braindecode_samba.estimators.base import choose_device, draw_seed
from braindecode_samba.estimators.callbacks import as_list, check_watchers
from braindecode_samba.estimators.finetuning import adamw
from braindecode_samba.estimators.interrupts import attributes_kept
from braindecode_samba.models import SAMBAReconstructor
from braindecode_samba.nn.randomness import seeded
from braindecode_samba.nn.scaling import MODEL_SFREQ
from braindecode_samba.pretraining.batches import (
    LengthBatchSampler,
    collate,
    window_lengths,
)
from braindecode_samba.pretraining.callbacks import TrainingCheckpoint
from braindecode_samba.pretraining.choice import Masking
from braindecode_samba.pretraining.losses import LossSums, TimeFrequencyLoss
from braindecode_samba.pretraining.reconstruction import (
    VALIDATION,
    MaskedReconstruction,
    Rebuilder,
)
from braindecode_samba.pretraining.state import load_training_state
from braindecode_samba.pretraining.windows import as_dataset
from braindecode_samba.signals.inputs import Channels, RandomState

_MAX_GRADIENT_NORM = 1.0
_PARTS = ("time", "frequency", "envelope")


class SAMBAPretrainer(Rebuilder):
    r"""Pretrain SAMBA: rebuild windows of EEG of which a part is hidden.

    AdamW without decay of biases, norms and state-space parameters, gradients clipped
    to norm 1.  Windows of several montages may share a batch; a batch holds one length.
    Two runs with one `random_state` are the same, in any number of workers and
    interruptions; global random states stay untouched.

    Parameters
    ----------
    module : type of nn.Module or SAMBAReconstructor
        The network; its arguments are given as ``module__d_state`` and so on.
    criterion : type of nn.Module
        The loss; its arguments are given as ``criterion__norm`` and so on.
    masking : Masking
        What is hidden. The same samples are hidden in every validation.
    ch_names, chs_info, sfreq
        Channels and rate of arrays, see `braindecode_samba.signals.read_windows`.
    optimizer, lr, max_epochs, batch_size, train_split, \*\*kwargs
        See `skorch.NeuralNet`. A batch is that of one process.
    mixed_precision : bool
        Compute in bfloat16 where that is safe.
    random_state : int, RandomState instance or None
        Seeds weights, order and masks.
    device : str or None
        "auto" takes CUDA if there is any, else the CPU; or a device of PyTorch.

    Attributes
    ----------
    model_ : SAMBAReconstructor
        The network.
    history : skorch.history.History
        Per epoch and batch: ``train_loss``, ``valid_loss`` and the parts of both,
        ``train_time``, ``train_frequency``, ``valid_time``, ``valid_frequency``.

    Examples
    --------
    >>> import numpy as np
    >>> from braindecode_samba.pretraining import SAMBAPretrainer
    >>> X = np.random.default_rng(0).normal(size=(4, 3, 64))
    >>> net = SAMBAPretrainer(
    ...     ch_names=["C3", "Cz", "C4"], sfreq=128, max_epochs=1, random_state=0,
    ...     module__d_state=4, module__expand=2, verbose=0,
    ... )
    >>> net.fit(X).reconstruct(X).shape
    (4, 3, 64)
    """

    def __init__(
        self,
        module: Any = SAMBAReconstructor,
        criterion: Any = TimeFrequencyLoss,
        *,
        masking: Masking = Masking(),  # noqa: B008 -- it is frozen
        ch_names: Sequence[str] | None = None,
        chs_info: Channels | None = None,
        sfreq: float | None = None,
        optimizer: Callable[..., torch.optim.Optimizer] = adamw,
        lr: float = 5e-4,
        max_epochs: int = 10,
        batch_size: int = 64,
        train_split: Any = None,
        mixed_precision: bool = False,
        random_state: RandomState = None,
        device: str | None = "auto",
        **kwargs: Any,
    ) -> None:
        super().__init__(
            module,
            criterion,
            optimizer=optimizer,
            lr=lr,
            max_epochs=max_epochs,
            batch_size=batch_size,
            train_split=train_split,
            # a device that is named stays the very object, as clone demands
            device=str(choose_device(device)) if device == "auto" else device,
            **kwargs,
        )
        given: Any = self.callbacks  # type: ignore[has-type]
        if not isinstance(given, list | None):
            self.callbacks = as_list(given)
        self.masking = masking
        self.ch_names = ch_names
        self.chs_info = chs_info
        self.sfreq = sfreq
        self.mixed_precision = mixed_precision
        self.random_state = random_state

    @property
    def _default_callbacks(self) -> list[tuple[str, Any]]:
        *others, print_log = super()._default_callbacks
        parts = [
            (f"{kind}_{part}", PassthroughScoring(f"{kind}_{part}", on_train=on_train))
            for kind, on_train in (("train", True), ("valid", False))
            for part in _PARTS
        ]
        clipping = GradientNormClipping(_MAX_GRADIENT_NORM)
        return [*others, *parts, ("gradient_clipping", clipping), print_log]

    @property
    def process_(self) -> tuple[int, int]:
        """Number of this process, and how many train together."""
        return 0, 1

    def fit(
        self,
        X: Any,
        y: None = None,
        *,
        valid: Any = None,
        resume: str | os.PathLike[str] | None = None,
        **fit_params: Any,
    ) -> Self:
        """Train a new network, or go on with a run that was interrupted.

        Parameters
        ----------
        X : array-like, mne.Epochs, windows of braindecode, list of these, or Dataset
            Windows, see `braindecode_samba.pretraining.windows.as_dataset`.
        y : None
            Ignored.
        valid : same kinds as X, optional
            Held-out windows for ``valid_loss``; better of other subjects.
        resume : str or path-like, optional
            Folder of `TrainingCheckpoint`: go on from there, up to `max_epochs` in all.
            Data and settings must be those of that run.
        **fit_params
            None is known; anything raises.

        Returns
        -------
        Self
            The net.

        Raises
        ------
        ValueError, TypeError
            If windows or settings can't be used, or if training diverges.
        FileNotFoundError
            If there is nothing to resume.
        KeyboardInterrupt
            If the user stops it. An earlier fit stays as it was, and what a
            `TrainingCheckpoint` has written can be resumed.
        """
        if fit_params:
            raise TypeError(f"fit knows no {', '.join(fit_params)}")
        if self.device is not None:
            choose_device(self.device)
        check_scalar(self.batch_size, "batch_size", Integral)
        if valid is None and self.train_split is None:
            check_watchers(self.callbacks, "pass valid= to fit")
        dataset = self.get_dataset(X)
        held_out = None if valid is None else self.get_dataset(valid)
        with attributes_kept(self):
            self.held_out_, self.resume_ = held_out, resume
            try:
                return super().fit(dataset)
            except KeyboardInterrupt as interruption:
                raise KeyboardInterrupt(_say_how_to_go_on(self)) from interruption
            finally:
                # neither windows nor an old run travel with the net
                self.held_out_ = self.resume_ = None

    def initialize_module(self) -> Self:
        """Build the network from the seed of the run."""
        if not isinstance(self.masking, Masking):
            raise TypeError(f"masking is a {type(self.masking).__name__}: pass Masking")
        kwargs = self.get_params_for("module")
        if "sfreq" in kwargs:
            raise ValueError(
                "module__sfreq is not for pretraining, where windows are resampled "
                "before: pass sfreq for arrays, and leave it out for other data"
            )
        self.seed_ = self._draw_seed()
        self.masking_ = self.masking
        with seeded(self.seed_):
            model = self.initialized_instance(self.module, kwargs)
        self.module_ = MaskedReconstruction(model)
        return self

    def _draw_seed(self) -> int:
        return draw_seed(self.random_state)

    def get_dataset(self, X: Any, y: None = None) -> Dataset[dict[str, Any]]:
        """Bring windows into one form, see `as_dataset`."""
        model_sfreq = self.get_params_for("module").get("model_sfreq", MODEL_SFREQ)
        return as_dataset(
            X,
            ch_names=self.ch_names,
            chs_info=self.chs_info,
            sfreq=self.sfreq,
            model_sfreq=model_sfreq,
        )

    def get_split_datasets(
        self, X: Any, y: None = None, **fit_params: Any
    ) -> tuple[Any, Any]:
        """Give training windows, and held-out ones or None."""
        held_out = getattr(self, "held_out_", None)
        if held_out is not None:
            return self.get_dataset(X), held_out
        return super().get_split_datasets(X, y, **fit_params)

    def get_iterator(self, dataset: Any, training: bool = False) -> DataLoader[Any]:
        """Give batches of one length, shuffled if for training."""
        options = self.get_params_for(
            "iterator_train" if training else "iterator_valid"
        )
        rank, n_processes = self.process_
        batch_size = options.pop("batch_size", self.batch_size)
        sampler = LengthBatchSampler(
            window_lengths(dataset),
            batch_size * n_processes,
            seed=self.seed_,
            shuffle=training,
            order=getattr(dataset, "order", None),
            rank=rank,
            n_processes=n_processes,
        )
        loader = self.iterator_train if training else self.iterator_valid
        return loader(
            dataset,
            batch_sampler=sampler,
            collate_fn=_collate_pairs,
            generator=torch.Generator(),
            **options,
        )

    def fit_loop(
        self, X: Any, y: None = None, epochs: int | None = None, **fit_params: Any
    ) -> Self:
        """Train for some epochs, or for what is left of a run."""
        with self.noting_interruptions():
            self._train(X, self.max_epochs if epochs is None else epochs)
        return self

    def _train(self, X: Any, epochs: int) -> None:
        train, valid = self.get_split_datasets(X)
        iterator = self.get_iterator(train, training=True)
        held_out = None if valid is None else self.get_iterator(valid)
        self.n_windows_, self.n_batches_ = len(train), len(iterator)
        first, skip = len(self.history) + 1, 0
        last = first - 1 + epochs
        folder = getattr(self, "resume_", None)
        self.resumed_ = folder is not None
        self.begins_epoch_ = True
        if folder is not None:
            done, finished = load_training_state(self, folder)
            # the seed of that run orders its windows
            iterator = self.get_iterator(train, training=True)
            first, last = len(self.history) + finished, self.max_epochs
            skip, self.begins_epoch_ = (0, True) if finished else (done, False)
        for epoch in range(first, last + 1):
            _set_epoch(iterator, epoch, skip, self.seed_)
            self.notify("on_epoch_begin", dataset_train=train, dataset_valid=valid)
            self.run_single_epoch(iterator, True, "train", self.train_step)
            self.run_single_epoch(held_out, False, "valid", self.validation_step)
            self.notify("on_epoch_end", dataset_train=train, dataset_valid=valid)
            skip, self.begins_epoch_ = 0, True

    def on_epoch_begin(self, net: Any, *args: Any, **kwargs: Any) -> None:
        """Begin a row of the history, unless the last one is to be gone on with."""
        if self.begins_epoch_:
            super().on_epoch_begin(net, *args, **kwargs)

    def run_single_epoch(
        self,
        iterator: DataLoader[Any] | None,
        training: bool,
        prefix: str,
        step_fn: Callable[..., Any],
        **fit_params: Any,
    ) -> None:
        """Run over all batches, or those that an interrupted epoch has left."""
        super().run_single_epoch(iterator, training, prefix, step_fn, **fit_params)
        if iterator is not None:
            self.history.record(f"{prefix}_batch_count", len(iterator))

    def train_step(self, batch: Any, **fit_params: Any) -> dict[str, Any]:
        """Hide a part of the windows and take a step."""
        hidden = self._hide(batch[0], self.masking_, len(self.history))
        return super().train_step((hidden, batch[1]), **fit_params)

    def validation_step(self, batch: Any, **fit_params: Any) -> dict[str, Any]:
        """Hide the same part as in every epoch, and judge."""
        hidden = self._hide(batch[0], self.masking, VALIDATION)
        return super().validation_step((hidden, batch[1]), **fit_params)

    def infer(self, x: dict[str, Tensor], **fit_params: Any) -> tuple[Tensor, Tensor]:
        """Run the network on a batch: what it rebuilt, and the whole signals."""
        inputs = to_tensor(x, self._device())
        inputs.pop("index", None)
        enabled = self.mixed_precision
        with torch.autocast(self._device().type, torch.bfloat16, enabled=enabled):
            return self.module_(**inputs)

    def get_loss(
        self,
        y_pred: tuple[Tensor, Tensor],
        y_true: Any,
        X: dict[str, Tensor],
        training: bool = False,
    ) -> Tensor:
        """Compute the loss over all processes together, and record its parts."""
        sums = self.criterion_.sums(*y_pred, X["mask"], X["ch_mask"])
        parts = self.criterion_.parts(self._join(sums))
        loss = parts.loss.item()
        if not math.isfinite(loss):
            raise ValueError(
                f"training diverged to a loss of {loss} in epoch {len(self.history)}: "
                f"lower lr={self.lr:g}"
            )
        kind = "train" if training else "valid"
        for part in _PARTS:
            value = getattr(parts, part).item()
            self.history.record_batch(f"{kind}_{part}", value)
        return parts.loss

    def _join(self, sums: LossSums) -> LossSums:
        """Add the sums of other processes."""
        return sums


def _collate_pairs(
    items: Sequence[dict[str, Any]],
) -> tuple[dict[str, Tensor], Tensor]:
    """Join windows into what skorch takes for inputs and targets."""
    batch = collate(items)
    return batch, batch["index"]


def _say_how_to_go_on(net: SAMBAPretrainer) -> str:
    callbacks: dict[str, Any] = dict(net.callbacks_)
    for callback in callbacks.values():
        if isinstance(callback, TrainingCheckpoint):
            return f"interrupted: fit(X, resume={str(callback.folder)!r}) goes on"
    return "interrupted: with the callback TrainingCheckpoint it could be resumed"


def _set_epoch(iterator: DataLoader[Any], epoch: int, skip: int, seed: int) -> None:
    """Tell everything that draws random numbers which epoch comes next."""
    sampler = cast(LengthBatchSampler, iterator.batch_sampler)
    sampler.set_epoch(epoch, skip)
    if hasattr(iterator.dataset, "set_epoch"):
        iterator.dataset.set_epoch(epoch)
    # the seeds of the workers follow from it
    seeds = np.random.SeedSequence((seed, epoch)).generate_state(1)
    iterator.generator.manual_seed(int(seeds[0]))
