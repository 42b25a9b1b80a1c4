"""How SAMBA is put to use on labelled windows: as it comes, probes, gradients.

Each function gives a clone-able pipeline of scikit-learn whose parameters tell, as
text, which weights and which seed it stands for.  The estimators themselves are in
`braindecode_samba.estimators`, other methods in
`braindecode_samba.evaluation.baselines`.
"""

import hashlib
import json
import os
from dataclasses import dataclass
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
from braindecode_samba.estimators import SAMBAClassifier, SAMBAFeatures
from braindecode_samba.evaluation.nets import ProbeNet

Checkpoint = str | os.PathLike[str]


@dataclass(eq=False, repr=False)
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

    checkpoint: str = "none"
    seed: str = "None"
    version: str = __version__

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


def samba(**classifier: Any) -> Pipeline:
    """Build SAMBA as it comes: a trained trunk, a solved head, people aligned.

    Parameters
    ----------
    **classifier
        Parameters of `braindecode_samba.SAMBAClassifier`, such as channels.

    Returns
    -------
    sklearn.pipeline.Pipeline
        Classifier of whatever `braindecode_samba.SAMBAClassifier` reads.
    """
    return _pipeline(classifier=SAMBAClassifier(**classifier))


def linear_probe(
    *,
    checkpoint: Checkpoint | None = "samba-e",
    layer: str = "pool3",
    pooling: str = "statistics",
    random_state: int | None = None,
    **features: Any,
) -> Pipeline:
    """Build the published linear probe on features of a network that stays as it is.

    Features are standardised; then one logistic regression a class, against the rest,
    with balanced classes.

    Parameters
    ----------
    checkpoint : str, path-like or None
        Pretrained weights; None: random ones, the probe's own baseline.
    layer, pooling : str
        As for `braindecode_samba.SAMBAFeatures`. The published probe reads nine
        statistics of "pool3"; ``layer="all", pooling="logvar"`` reads what
        `SAMBAFeatures` gives as it comes, which tells more.
    random_state : int, optional
        Seed.
    **features
        Further parameters of `braindecode_samba.SAMBAFeatures`, such as channels.

    Returns
    -------
    sklearn.pipeline.Pipeline
        Classifier of whatever `braindecode_samba.SAMBAFeatures` reads.
    """
    regression = LogisticRegression(
        class_weight="balanced", max_iter=1_000_000, random_state=random_state
    )
    return _pipeline(
        features=SAMBAFeatures(
            checkpoint=checkpoint,
            layer=layer,
            pooling=pooling,
            random_state=random_state,
            **features,
        ),
        scaler=StandardScaler(),
        classifier=OneVsRestClassifier(regression),
    )


def nonlinear_probe(
    *,
    checkpoint: Checkpoint | None = "samba-e",
    layer: str = "pool3",
    pooling: str = "statistics",
    max_epochs: int = 20,
    device: str = "auto",
    random_state: int | None = None,
    **features: Any,
) -> Pipeline:
    """Build the published non-linear probe: a small network on features.

    Parameters
    ----------
    checkpoint, layer, pooling, random_state, **features
        As for `linear_probe`.
    max_epochs : int
        Passes over the features; the best epoch on held-out windows is kept.
    device : str
        As for `braindecode_samba.SAMBAFeatures`.

    Returns
    -------
    sklearn.pipeline.Pipeline
        Classifier of whatever `braindecode_samba.SAMBAFeatures` reads.

    See Also
    --------
    braindecode_samba.evaluation.ProbeNet : The network and how it is trained.
    """
    drawn: dict[str, Any] = {"device": device, "random_state": random_state}
    read = SAMBAFeatures(
        checkpoint=checkpoint, layer=layer, pooling=pooling, **drawn, **features
    )
    probe = ProbeNet(max_epochs=max_epochs, **drawn)
    return _pipeline(features=read, classifier=probe)


def fine_tuned(
    checkpoint: Checkpoint | None,
    *,
    trunk_lr_factor: float = 0.1,
    max_epochs: int = 15,
    lr: float = 1e-2,
    random_state: int | None = None,
    **classifier: Any,
) -> Pipeline:
    """Build a classifier that gradients train from pretrained weights on.

    The head begins at random. For gradients from a solved head on, pass ``max_epochs``
    to `samba`.

    Parameters
    ----------
    checkpoint : str, path-like or None
        Pretrained weights; None: random ones, see `from_scratch`.
    trunk_lr_factor : float
        Rate of the trunk, as a share of the head's.
    max_epochs : int
        Passes over the training windows.
    lr : float
        Highest rate of the head, which reads normalised powers and takes much higher
        rates than the trunk.
    random_state : int, optional
        Seed.
    **classifier
        Further parameters of `braindecode_samba.SAMBAClassifier`, such as channels,
        ``finetune`` and ``model_params``.

    Returns
    -------
    sklearn.pipeline.Pipeline
        Classifier of whatever `braindecode_samba.SAMBAClassifier` reads.
    """
    tuned = SAMBAClassifier(
        checkpoint=checkpoint,
        trunk_lr_factor=trunk_lr_factor,
        start="random",
        max_epochs=max_epochs,
        lr=lr,
        random_state=random_state,
        **classifier,
    )
    return _pipeline(classifier=tuned)


def from_scratch(**parameters: Any) -> Pipeline:
    """Build the same classifier with random weights at the start.

    Parameters
    ----------
    **parameters
        As for `fine_tuned`, with the same budget by default.

    Returns
    -------
    sklearn.pipeline.Pipeline
        Classifier of whatever `braindecode_samba.SAMBAClassifier` reads.
    """
    return fine_tuned(None, **parameters)


def _pipeline(**steps: Any) -> Pipeline:
    """Put before steps which weights and seed they stand for, as the first one says."""
    first = next(iter(steps.values()))
    provenance = Provenance(
        checkpoint_digest(first.checkpoint), str(first.random_state)
    )
    return Pipeline([("provenance", provenance), *steps.items()])
