"""SAMBA beside other methods: pipelines, baselines, tables, Open EEG Bench.

The data sets of the paper are in `braindecode_samba.evaluation.recipes`.
"""

from braindecode_samba.evaluation.aligned import Aligned
from braindecode_samba.evaluation.baselines import band_power, csp_lda, tangent_space
from braindecode_samba.evaluation.nets import BraindecodeNet, ProbeNet
from braindecode_samba.evaluation.open_eeg_bench import benchmark_arguments
from braindecode_samba.evaluation.pipelines import (
    benchmark_files,
    estimator_digest,
    make_pipelines,
    paired_tests,
    summarise,
)
from braindecode_samba.evaluation.protocols import (
    Provenance,
    checkpoint_digest,
    fine_tuned,
    from_scratch,
    linear_probe,
    nonlinear_probe,
    samba,
)
from braindecode_samba.evaluation.scoring import GroupedScorer
from braindecode_samba.evaluation.tables import ResumableTable

__all__ = [
    "Aligned",
    "BraindecodeNet",
    "GroupedScorer",
    "ProbeNet",
    "Provenance",
    "ResumableTable",
    "band_power",
    "benchmark_arguments",
    "benchmark_files",
    "checkpoint_digest",
    "csp_lda",
    "estimator_digest",
    "fine_tuned",
    "from_scratch",
    "linear_probe",
    "make_pipelines",
    "nonlinear_probe",
    "paired_tests",
    "samba",
    "summarise",
    "tangent_space",
]
