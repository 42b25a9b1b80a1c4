"""Networks leave Python as they are: for any batch, any length, and as one graph.

The code of the page is what runs here.
"""

import copy
import re
from pathlib import Path

import pytest
import torch
from torch.export import Dim

from braindecode_samba import SAMBA, SAMBAReconstructor, chs_info_from_names

PAGE = Path(__file__).parents[1] / "docs" / "export.rst"
SIZES = [(1, 128), (1, 16), (2, 129), (5, 1000), (7, 77), (3, 1283)]
CHS_INFO = chs_info_from_names(["C3", "Cz", "C4"])
OPEN = {"x": {0: Dim.DYNAMIC, 2: Dim.DYNAMIC}}


def draw(batch, n_times, unit=1.0):
    generator = torch.Generator().manual_seed(batch)
    return unit * torch.randn(batch, 3, n_times, generator=generator)


def rebuild():
    torch.manual_seed(0)
    options = {"d_state": 4, "expand": 2}
    return SAMBAReconstructor(chs_info=CHS_INFO, sfreq=128, **options).eval()


def check(given, wanted, rounding=0.0):
    allowed = 1e-5 * float(wanted.abs().max()) + rounding
    torch.testing.assert_close(given, wanted, rtol=0, atol=allowed)


def check_onnx(session, page, x):
    """Compare a solved head, whose filters magnify the rounding of float32."""
    (given,) = session.run(None, {"x": x.numpy()})
    # how far float32 is off by itself: of few logits the largest error says little
    others = torch.cat([x, x.std() * draw(6, x.shape[2])])
    exact = copy.deepcopy(page["network"]).double()(others.double())
    rounding = float((page["network"](others) - exact).abs().max())
    check(torch.from_numpy(given), page["network"](x), 3 * rounding)


def blocks():
    return re.findall(
        r"\.\. code-block:: python\n\n((?:   .*\n|\n)+)", PAGE.read_text("utf-8")
    )


def execute(block, names):
    exec("\n".join(line[3:] for line in block.splitlines()), names)  # noqa: S102


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """Names of the page up to the exported program."""
    names = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("page"))
        for block in blocks()[:2]:
            execute(block, names)
        names["saved"] = torch.export.load("decoder.pt2").module()
    return names


@pytest.fixture(scope="module")
def session(page, tmp_path_factory):
    """The page's session of onnxruntime."""
    for package in ("onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(package, reason=f"pip install {package}")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("onnx"))
        execute(blocks()[2], page)
    return page["session"]


@pytest.fixture(scope="module")
def reconstructor():
    """A network, and its program."""
    model = rebuild()
    program = torch.export.export(
        model, (draw(2, 64),), dynamic_shapes=OPEN, strict=False
    )
    return model, program


@torch.no_grad()
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("unit", [1e-5, 1.0])
def test_an_exported_decoder_takes_any_batch_and_length(page, size, unit):
    x = draw(*size, unit)
    check(page["saved"](x), page["network"](x))


@torch.no_grad()
@pytest.mark.parametrize("size", [*SIZES, (2, 8)])
@pytest.mark.parametrize("unit", [1e-5, 1.0])
def test_onnx_takes_any_batch_and_length(page, session, size, unit):
    check_onnx(session, page, draw(*size, unit))


@torch.no_grad()
@pytest.mark.parametrize("case", ["zeros", "a flat channel", "constant"])
def test_onnx_takes_degenerate_windows(page, session, case):
    x = draw(2, 200)
    if case == "a flat channel":
        x[0, 1] = 0.0
    else:
        x[0] = float(case == "constant")
    check_onnx(session, page, x)


@torch.no_grad()
def test_an_exported_reconstructor_takes_any_batch_and_length(reconstructor, tmp_path):
    model, program = reconstructor
    for size in SIZES:
        x = draw(*size)
        check(program.module()(x), model(x))


@torch.no_grad()
def test_onnx_of_a_reconstructor_takes_any_batch_and_length(reconstructor, tmp_path):
    for package in ("onnx", "onnxscript"):
        pytest.importorskip(package, reason=f"pip install {package}")
    runtime = pytest.importorskip("onnxruntime", reason="pip install onnxruntime")
    model, program = reconstructor
    file = tmp_path / "reconstructor.onnx"
    torch.onnx.export(program, dynamo=True, verbose=False).save(file)
    session = runtime.InferenceSession(file)
    for size in SIZES:
        x = draw(*size)
        (given,) = session.run(None, {"x": x.numpy()})
        check(torch.from_numpy(given), model(x))


@torch.no_grad()
def test_networks_for_another_rate_keep_the_batch_open():
    model = SAMBA(n_outputs=2, chs_info=CHS_INFO, sfreq=200, d_state=4, expand=2).eval()
    program = torch.export.export(
        model, (draw(2, 300),), dynamic_shapes={"x": {0: Dim.DYNAMIC}}, strict=False
    )
    for batch in (1, 5):
        x = draw(batch, 300)
        check(program.module()(x), model(x))


@torch.no_grad()
@pytest.mark.parametrize("dynamic", [False, True])
@pytest.mark.parametrize("kind", ["power", "readings", "reconstructor"])
def test_networks_compile_without_a_break(kind, dynamic):
    """The graph alone: a code generator takes minutes."""
    options = {"n_outputs": 2, "chs_info": CHS_INFO, "sfreq": 128}
    small = {"d_state": 4, "expand": 2}
    model = (
        rebuild() if kind == "reconstructor" else SAMBA(head=kind, **options, **small)
    ).eval()
    torch.compiler.reset()
    compiled = torch.compile(model, backend="eager", fullgraph=True, dynamic=dynamic)
    for size in ((2, 160), (3, 200)) if dynamic else ((2, 160),):
        x = draw(*size)
        check(compiled(x), model(x))
    torch.compiler.reset()
