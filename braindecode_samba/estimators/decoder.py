"""What classifier and regressor share: align, solve, train, and read what comes later.

`Decoder` owns a private net of braindecode's.  How its head is solved is in
`braindecode_samba.estimators.solving`, how gradients go on from there in
`braindecode_samba.estimators.gradients`.
"""

import copy
import functools
from collections.abc import Callable
from typing import Any, ClassVar, Self

import numpy as np
import pandas as pd
import skorch
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from braindecode_samba.checkpoints import CheckpointReport, open_checkpoint
from braindecode_samba.checkpoints.contents import Checkpoint
from braindecode_samba.estimators.aligning import (
    Alignment,
    choose_mode,
    say_unaligned,
)
from braindecode_samba.estimators.base import (
    default_positions,
    draw_seed,
    samples,
)
from braindecode_samba.estimators.callbacks import copy_where_possible
from braindecode_samba.estimators.finetuning import freeze
from braindecode_samba.estimators.gradients import (
    Training,
    build_net,
    train_once,
)
from braindecode_samba.estimators.running import at_rate, run_in_batches
from braindecode_samba.estimators.saving import SavedDecoder
from braindecode_samba.estimators.solving import solve_head
from braindecode_samba.estimators.targets import required
from braindecode_samba.estimators.usage import Usage
from braindecode_samba.models import SAMBA
from braindecode_samba.nn.randomness import seeded
from braindecode_samba.signals.inputs import Windows
from braindecode_samba.signals.mirroring import mirrored_too
from braindecode_samba.signals.thinning import thinned_too


class Decoder(SavedDecoder):
    """Base of classifier and regressor.

    Subclasses say what a fit learns from y and how y becomes targets of the net.
    """

    # MOABB's cross-subject evaluation hands over subjects; whoever passes groups to a
    # search or a validation means these
    __metadata_request__fit: ClassVar = {"groups": True, "subjects": True}
    __metadata_request__predict: ClassVar = {"groups": True}
    __metadata_request__score: ClassVar = {"groups": True}

    _metric: ClassVar[Callable[..., Any]]

    @property
    def model_(self) -> SAMBA:
        """The trained network."""
        return self.net_.module_

    def fit(
        self,
        X: Any,
        y: ArrayLike | None = None,
        *,
        groups: ArrayLike | None = None,
        subjects: ArrayLike | None = None,
    ) -> Self:
        """Fit anew.

        If anything is refused, fails or is interrupted, an earlier fit stays as it was.

        Parameters
        ----------
        X : array-like, mne.Epochs, list of mne.Epochs, or windows of braindecode
            Windows, see `braindecode_samba.signals.read_windows`.
        y : array-like, optional
            Targets; None takes those of a data set of braindecode.
        groups : array-like, shape (n,), optional
            The recording of each window. None takes what the data say: the columns
            "recording", or "subject" and "session", of ``epochs.metadata`` or of
            braindecode's description, or the items of a list of Epochs.
        subjects : array-like, shape (n,), optional
            The person of each window: what is settled out of fold is settled on people
            apart. None takes the column "subject", else `groups`; without groups they
            are the recordings.

        Returns
        -------
        Self
            The estimator.

        Raises
        ------
        ValueError, TypeError
            If X, y or a parameter can't be used, or if training diverges.
        """
        self._check_settings()
        named = {"groups": subjects if groups is None else groups, "subjects": subjects}
        windows = self._read_new(X, y, **named)
        if self.mirror is not None:
            windows = mirrored_too(windows, required(self, windows.y), self.mirror)
        learned, targets = self._learn(required(self, windows.y), None)
        mode = choose_mode(self.align, windows, targets)
        if windows.groups is None and self.align == "auto":
            say_unaligned()
        seed = draw_seed(self.random_state)
        checkpoint = self._open_checkpoint()
        net = self._build_net(windows, learned, targets, checkpoint)
        own = windows
        if len(self.montages):
            windows, rows = thinned_too(windows, self.montages)
            targets = targets[rows]
        usage = Usage.learn(windows)
        alignment = self._learn_alignment(mode, net, windows)
        aligned, _ = alignment.apply(windows)
        with seeded(seed):
            net.initialize()
            report = self._prepare(net.module_, aligned, checkpoint)
            solve = functools.partial(self._solve, net, alignment)
            evidence = Training(self, net, aligned, targets, seed).run(solve)
        self._adopt(net, own, learned, seed, report)
        self._alignment, self._usage = alignment, usage
        self.evidence_ = evidence
        return self

    def adapt(self, X: Any, *, groups: ArrayLike | None = None) -> Self:
        """Remember people from windows without labels.

        Later windows of the same recording are aligned by all that is known of it,
        however few come at a time.

        Parameters
        ----------
        X : array-like, mne.Epochs, list of mne.Epochs, or windows of braindecode
            As for `predict`.
        groups : array-like, shape (n,), optional
            As for `fit`; without any, what is predicted without groups is meant.

        Returns
        -------
        Self
            The estimator. It does nothing where the fit was not aligned.
        """
        parts = self._read_parts(X, groups=groups)
        if self._alignment.mode != "whiten":
            return self
        # nobody is remembered before everybody's windows were found good
        before = dict(self._alignment.people)
        try:
            for windows in parts:
                keys = self._alignment.keys(windows)
                for key in np.unique(keys).tolist():
                    rows = np.flatnonzero(keys == key)
                    self._alignment.join(key, windows.select(rows), self._run)
        except BaseException:
            self._alignment.people = before
            raise
        return self

    def _read_more(self, X: Any, y: ArrayLike | None = None, **names: Any) -> Windows:
        windows = super()._read_more(X, y, **names)
        # a decoder for many headsets goes to others, who may not know what it reads
        if len(self.montages):
            self._usage.refuse_others(windows)
        return windows

    def _partial_fit(
        self, X: Any, y: ArrayLike | None, classes: Any, groups: ArrayLike | None
    ) -> Self:
        if not hasattr(self, "net_"):
            return self._begin(X, y, classes, groups)
        windows = self._read_more(X, y, groups=groups)
        if not np.isclose(windows.sfreq, self.sfreq_, rtol=1e-6, atol=0):
            raise ValueError(
                f"X is sampled at {windows.sfreq:g} Hz, and the first windows were at "
                f"{self.sfreq_:g} Hz: resample X"
            )
        targets = self._encode(required(self, windows.y), classes)
        aligned, _ = self._alignment.apply(windows)
        batch = samples(aligned, self._positions)
        train_once(self.net_, batch, targets, self._seed + 1 + self._n_updates)
        self._n_updates += 1
        return self

    def _begin(
        self, X: Any, y: ArrayLike | None, classes: Any, groups: ArrayLike | None
    ) -> Self:
        self._check_settings(in_passes=False)
        if self.start == "solved":
            raise ValueError(
                "start='solved' needs all training windows at once: call fit first, or "
                "pass start='random'"
            )
        windows = self._read_new(X, y, groups=groups)
        learned, targets = self._learn(required(self, windows.y), classes)
        mode = choose_mode(self.align, windows, targets)
        seed = draw_seed(self.random_state)
        checkpoint = self._open_checkpoint()
        net = self._build_net(windows, learned, targets, checkpoint)
        usage = Usage.learn(windows)
        alignment = self._learn_alignment(mode, net, windows)
        aligned, _ = alignment.apply(windows)
        with seeded(seed):
            net.initialize()
        report = self._prepare(net.module_, aligned, checkpoint)
        batch = samples(aligned, default_positions(windows))
        train_once(net, batch, targets, seed + 1)
        self._adopt(net, windows, learned, seed, report)
        self._alignment, self._usage = alignment, usage
        self.evidence_ = None
        self._n_updates = 1
        return self

    def __sklearn_clone__(self) -> Self:
        """Clone as scikit-learn does, and share callbacks that can't be copied."""
        bare = copy.copy(self)
        bare.callbacks = None
        clone = BaseEstimator.__sklearn_clone__(bare)
        clone.callbacks = copy_where_possible(self.callbacks)
        return clone

    def _open_checkpoint(self) -> Checkpoint | None:
        if self.checkpoint is None:
            return None
        activation = (self.model_params or {}).get("activation")
        return open_checkpoint(self.checkpoint, activation=activation)

    def _prepare(
        self, model: SAMBA, windows: Windows, checkpoint: Checkpoint | None
    ) -> CheckpointReport | None:
        """Give a new model trained weights and its scale, and freeze what stays."""
        report = None
        if checkpoint is not None:
            # a saved head knows other classes
            report = checkpoint.fill(model, trunk_only=True)
            if self.verbose > 0:
                print(report)
        self._scale_recordings(model, windows)
        freeze(model, self.finetune)
        return report

    def _solve(
        self,
        net: skorch.NeuralNet,
        alignment: Alignment,
        windows: Windows,
        targets: NDArray[Any],
    ) -> pd.DataFrame:
        weight = getattr(net.criterion_, "weight", None)
        return solve_head(
            net.module_,
            windows,
            targets,
            self.batch_size,
            people=windows.people,
            recordings=windows.groups if alignment.mode == "whiten" else None,
            weights=None if weight is None else weight.cpu().double().numpy(),
        )

    def _build_net(
        self,
        windows: Windows,
        learned: dict[str, Any],
        targets: NDArray[Any],
        checkpoint: Checkpoint | None,
    ) -> skorch.NeuralNet:
        params = self._net_params(learned, targets)
        module = self._signal_params(windows)
        if self.start == "solved":
            module |= {
                "head": "readings",
                "numbers": self._numbers,
                "evoked_seconds": windows.x.shape[2] / windows.sfreq,
            }
        module["n_outputs"] = params.pop("module__n_outputs")
        if checkpoint is not None:
            module = checkpoint.arguments(SAMBA, module)
        return build_net(self, module, params)

    def _learn_alignment(
        self, mode: str, net: skorch.NeuralNet, windows: Windows
    ) -> Alignment:
        # where the network goes by amplitudes, these stay
        by_amplitude = getattr(net, "module__scale", "window") in ("recording", None)
        kept = by_amplitude and mode != "whiten"
        return Alignment.learn("none" if kept else mode, windows)

    def _learn(
        self, y: ArrayLike, classes: ArrayLike | None
    ) -> tuple[dict[str, Any], NDArray[Any]]:
        """Learn from y: fitted attributes by name, and the targets of the net."""
        raise NotImplementedError

    def _encode(self, y: ArrayLike, classes: ArrayLike | None) -> NDArray[Any]:
        """Turn y into targets of the net, after a fit."""
        raise NotImplementedError

    def _adopt(
        self,
        net: skorch.NeuralNet,
        windows: Windows,
        learned: dict[str, Any],
        seed: int,
        report: CheckpointReport | None,
    ) -> None:
        for name, value in learned.items():
            setattr(self, name, value)
        self._remember(windows)
        self._positions = default_positions(windows)
        self._seed, self._n_updates = seed, 0
        self.checkpoint_report_ = report
        self.net_ = net

    def _outputs(self, X: Any, groups: ArrayLike | None) -> NDArray[np.float32]:
        """Compute outputs, aligned and centred as in the fit: (n, n_outputs)."""
        check_is_fitted(self)
        outputs, keys = [], []
        for windows in self._read_parts(X, groups=groups):
            aligned, own = self._alignment.apply(windows)
            outputs.append(self._run(aligned))
            keys.append(own)
        found = np.concatenate(outputs)
        return self._centred(found, np.concatenate(keys), self._alignment)

    def _centred(
        self, outputs: NDArray[np.float32], keys: NDArray[Any], alignment: Alignment
    ) -> NDArray[np.float32]:
        """Centre outputs on their recordings, where the fit did."""
        if alignment.mode != "whiten" or self.evidence_ is None:
            return outputs
        level = self.model_.final_layer.bias.detach().cpu().numpy()
        return alignment.centre(outputs, keys, level)

    def score(
        self,
        X: Any,
        y: ArrayLike,
        sample_weight: ArrayLike | None = None,
        *,
        groups: ArrayLike | None = None,
    ) -> float:
        """Score predictions: accuracy of labels, R2 of numbers.

        Parameters
        ----------
        X, groups
            As for `predict`.
        y : array-like
            The truth.
        sample_weight : array-like, shape (n,), optional
            Weights of the windows.

        Returns
        -------
        float
            Score.
        """
        y = self._truth(required(self, y))
        found = self.predict(X, groups=groups)
        return float(self._metric(y, found, sample_weight=sample_weight))

    def _truth(self, y: ArrayLike) -> NDArray[Any]:
        """Check targets to compare predictions with."""
        raise NotImplementedError

    def _say(self, outputs: NDArray[np.float32]) -> NDArray[Any]:
        """Turn outputs into probabilities, or values in the unit of y."""
        raise NotImplementedError

    def _run(self, aligned: Windows) -> NDArray[np.float32]:
        model = at_rate(self.model_, aligned.sfreq)
        return run_in_batches(model, model, aligned, self.batch_size)
