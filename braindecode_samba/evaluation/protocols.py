"""How SAMBA is put to use on labelled windows: probes, fine-tuning, from scratch.

Each function gives a clone-able pipeline of scikit-learn whose parameters tell, as
text, which weights and which seed it stands for.  The estimators themselves are in
`braindecode_samba.estimators`, other methods in
`braindecode_samba.evaluation.baselines`.
"""

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from typing import Any, Self

from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.linear_model import LogisticRegression
from sklearn.multiclass import OneVsRestClassifier
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import Tags

from braindecode_samba._version import __version__
from braindecode_samba.checkpoints.files import (
    find_checkpoint,
    read_checkpoint_files,
    short_hash,
)
from braindecode_samba.estimators.decoders import SAMBAClassifier, SAMBAFeatures
from braindecode_samba.evaluation.nets import ProbeNet
from braindecode_samba.signals.inputs import Channels

__all__ = [
    "Provenance",
    "checkpoint_digest",
    "fine_tuned",
    "from_scratch",
    "linear_probe",
    "nonlinear_probe",
]

Checkpoint = str | os.PathLike[str]


class Provenance(TransformerMixin, BaseEstimator):
    """First step of a pipeline that changes nothing and says what the pipeline is.

    MOABB stores scores under the text of a pipeline's parameters.  Two files of weights
    at one place have the same text, and the scores of the first would be given for the
    second: with their hash among the parameters they differ.

    Parameters
    ----------
    checkpoint : str
        Hash of the weights; "none" for a network with random ones.
    seed : str
        Seed of whatever is drawn.
    version : str
        Of this package.
    """

    def __init__(
        self, checkpoint: str = "none", seed: str = "None", version: str = __version__
    ) -> None:
        self.checkpoint = checkpoint
        self.seed = seed
        self.version = version

    def __sklearn_tags__(self) -> Tags:
        """Tags of scikit-learn: there is nothing to fit."""
        tags = super().__sklearn_tags__()
        tags.requires_fit = False
        return tags

    def fit(self, X: Any, y: Any = None) -> Self:
        """Do nothing.

        Parameters
        ----------
        X : object
            Anything.
        y : object
            Ignored.

        Returns
        -------
        Self
            The step.
        """
        return self

    def transform(self, X: Any) -> Any:
        """Give X back.

        Parameters
        ----------
        X : object
            Anything.

        Returns
        -------
        object
            X itself.
        """
        return X


def checkpoint_digest(checkpoint: Checkpoint | None) -> str:
    """Hash of the weights and the configuration of a checkpoint.

    Parameters
    ----------
    checkpoint : str, path-like or None
        As for `braindecode_samba.checkpoints.files.find_checkpoint`; None is a network
        with random weights.

    Returns
    -------
    str
        First digits of the hash of the weights, as loading reports it, and of that of
        the configuration; or "none".

    Raises
    ------
    braindecode_samba.checkpoints.CheckpointError
        If there is no such checkpoint.
    """
    if checkpoint is None:
        return "none"
    files = read_checkpoint_files(find_checkpoint(checkpoint))
    config = json.dumps(files.config, sort_keys=True).encode()
    return f"{short_hash(files.sha256)}-{hashlib.sha256(config).hexdigest()[:8]}"


def linear_probe(
    *,
    ch_names: Sequence[str] | None = None,
    chs_info: Channels | None = None,
    sfreq: float | None = None,
    checkpoint: Checkpoint | None = None,
    layer: str = "pool3",
    pooling: str = "statistics",
    batch_size: int = 64,
    device: str = "auto",
    random_state: int | None = None,
) -> Pipeline:
    """Build the published linear probe on features of a network that stays as it is.

    Features are standardised; then one logistic regression a class, against the rest,
    with balanced classes.

    Parameters
    ----------
    ch_names, chs_info, sfreq, batch_size, device
        As for `braindecode_samba.SAMBAClassifier`.
    checkpoint : str, path-like or None
        Pretrained weights; None: random ones, the probe's own baseline.
    layer, pooling : str
        As for `braindecode_samba.SAMBAFeatures`; by default the nine statistics of the
        published probe.
    random_state : int, optional
        Seed.

    Returns
    -------
    sklearn.pipeline.Pipeline
        Classifier of whatever `braindecode_samba.SAMBAFeatures` reads.
    """
    features = SAMBAFeatures(
        ch_names=ch_names,
        chs_info=chs_info,
        sfreq=sfreq,
        checkpoint=checkpoint,
        layer=layer,
        pooling=pooling,
        batch_size=batch_size,
        device=device,
        random_state=random_state,
    )
    regression = LogisticRegression(
        class_weight="balanced", max_iter=1_000_000, random_state=random_state
    )
    return _pipeline(
        checkpoint,
        random_state,
        features=features,
        scaler=StandardScaler(),
        classifier=OneVsRestClassifier(regression),
    )


def nonlinear_probe(
    *,
    ch_names: Sequence[str] | None = None,
    chs_info: Channels | None = None,
    sfreq: float | None = None,
    checkpoint: Checkpoint | None = None,
    layer: str = "pool3",
    pooling: str = "statistics",
    batch_size: int = 64,
    max_epochs: int = 20,
    device: str = "auto",
    random_state: int | None = None,
) -> Pipeline:
    """Build the published non-linear probe: a small network on features.

    Parameters
    ----------
    ch_names, chs_info, sfreq, checkpoint, layer, pooling, batch_size, device, \
    random_state
        As for `linear_probe`.
    max_epochs : int
        Passes over the features; the best epoch on held-out windows is kept.

    Returns
    -------
    sklearn.pipeline.Pipeline
        Classifier of whatever `braindecode_samba.SAMBAFeatures` reads.

    See Also
    --------
    braindecode_samba.evaluation.ProbeNet : The network and how it is trained.
    """
    features = SAMBAFeatures(
        ch_names=ch_names,
        chs_info=chs_info,
        sfreq=sfreq,
        checkpoint=checkpoint,
        layer=layer,
        pooling=pooling,
        batch_size=batch_size,
        device=device,
        random_state=random_state,
    )
    probe = ProbeNet(max_epochs=max_epochs, device=device, random_state=random_state)
    return _pipeline(checkpoint, random_state, features=features, classifier=probe)


def fine_tuned(
    checkpoint: Checkpoint,
    *,
    ch_names: Sequence[str] | None = None,
    chs_info: Channels | None = None,
    sfreq: float | None = None,
    finetune: str | int = "all",
    trunk_lr_factor: float = 0.1,
    start: str = "random",
    max_epochs: int = 15,
    lr: float = 1e-2,
    batch_size: int = 64,
    model_params: Mapping[str, Any] | None = None,
    device: str = "auto",
    random_state: int | None = None,
) -> Pipeline:
    """Build a classifier that starts from pretrained weights.

    Parameters
    ----------
    checkpoint : str or path-like
        Pretrained weights.
    ch_names, chs_info, sfreq, batch_size, model_params, device, random_state
        As for `braindecode_samba.SAMBAClassifier`.
    finetune : {"all", "head"} or int
        What is trained: everything, the head alone, or the last so many stages.
    trunk_lr_factor : float
        Rate of the trunk, as a share of the head's.
    start : {"random", "solved"}
        Where the head begins, as for `braindecode_samba.SAMBAClassifier`.
    max_epochs : int
        Passes over the training windows; with a solved head 0 leaves it at that.
    lr : float
        Highest rate of the head, which reads normalised powers and takes much higher
        rates than the trunk.

    Returns
    -------
    sklearn.pipeline.Pipeline
        Classifier of whatever `braindecode_samba.SAMBAClassifier` reads.
    """
    classifier = SAMBAClassifier(
        ch_names=ch_names,
        chs_info=chs_info,
        sfreq=sfreq,
        checkpoint=checkpoint,
        finetune=finetune,
        trunk_lr_factor=trunk_lr_factor,
        start=start,
        max_epochs=max_epochs,
        lr=lr,
        batch_size=batch_size,
        model_params=model_params,
        device=device,
        random_state=random_state,
    )
    return _pipeline(checkpoint, random_state, classifier=classifier)


def from_scratch(
    *,
    ch_names: Sequence[str] | None = None,
    chs_info: Channels | None = None,
    sfreq: float | None = None,
    trunk_lr_factor: float = 0.1,
    start: str = "random",
    max_epochs: int = 15,
    lr: float = 1e-2,
    batch_size: int = 64,
    model_params: Mapping[str, Any] | None = None,
    device: str = "auto",
    random_state: int | None = None,
) -> Pipeline:
    """Build the same classifier with random weights at the start.

    Parameters
    ----------
    ch_names, chs_info, sfreq, trunk_lr_factor, start, max_epochs, lr, batch_size, \
    model_params, device, random_state
        As for `fine_tuned`, with the same budget by default.

    Returns
    -------
    sklearn.pipeline.Pipeline
        Classifier of whatever `braindecode_samba.SAMBAClassifier` reads.
    """
    classifier = SAMBAClassifier(
        ch_names=ch_names,
        chs_info=chs_info,
        sfreq=sfreq,
        trunk_lr_factor=trunk_lr_factor,
        start=start,
        max_epochs=max_epochs,
        lr=lr,
        batch_size=batch_size,
        model_params=model_params,
        device=device,
        random_state=random_state,
    )
    return _pipeline(None, random_state, classifier=classifier)


def _pipeline(
    checkpoint: Checkpoint | None, seed: int | None, **steps: BaseEstimator
) -> Pipeline:
    """Put steps behind the one that says which weights and seed they stand for."""
    provenance = Provenance(checkpoint_digest(checkpoint), str(seed))
    return Pipeline([("provenance", provenance), *steps.items()])
