"""The order of the house: rooms in the order in which data flow, one idea a file.

Imports are read from the source of every module, those inside functions too, so that
nothing has to be imported for it.
"""

import ast
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

NAME = "braindecode_samba"
PACKAGE = Path(__file__).parents[1] / NAME
# what is in a room imports from the same room and from lower numbers
ROOMS = {
    "signals": 1,
    "scan": 2,
    "nn": 3,
    "models": 4,
    "checkpoints": 5,
    "estimators": 6,
    "pretraining": 7,
    "evaluation": 7,
    "plots": 8,
}
# what any room may import, and what imports from all rooms
GROUND = {"_paths", "_version"}
ROOF = {"__init__", "__main__", "cli"}
# (who, whom): why it must be
LATE = {
    ("models", "checkpoints"): "braindecode expects that a model class loads itself, "
    "and loading builds models",
}
MOST_LINES = 400
FILES = {
    file.relative_to(PACKAGE).with_suffix("").as_posix().replace("/", "."): file
    for file in sorted(PACKAGE.rglob("*.py"))
}
# a room is known by its own name
MODULES = {name.removesuffix(".__init__"): file for name, file in FILES.items()}


def room_of(module):
    return module.split(".")[0]


def imported(source, modules, package):
    """Yield each module of the package that a source imports, and whether it is late.

    Parameters
    ----------
    source : str
        Of a module.
    modules : container of str
        Modules of the package, without the package's name.
    package : str
        Where the module is, with the package's name, for relative imports.

    Yields
    ------
    module : str
        Without the package's name; the package itself is ``__init__``.
    late : bool
        Whether the import stands in a function.
    """
    tree = ast.parse(source)
    late = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            paths = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: -node.level + 1 or None] if node.level else []
            start = ".".join([*above, *filter(None, [node.module])])
            # a name is a module or something in one
            paths = [f"{start}.{alias.name}" for alias in node.names]
        else:
            continue
        for path in paths:
            if path == NAME or path.startswith(f"{NAME}."):
                found = path.removeprefix(NAME).removeprefix(".")
                while found and found not in modules:
                    found = found.rpartition(".")[0]
                yield found or "__init__", id(node) in late


def imports_of(module):
    file = MODULES[module]
    folder = file.parent.relative_to(PACKAGE.parent).as_posix().replace("/", ".")
    return set(imported(file.read_text("utf-8"), MODULES, folder))


def against_the_order(module, other):
    """Whether a module may not import another, by the rooms they are in."""
    here, there = room_of(module), room_of(other)
    if here in ROOF or there in GROUND or here == there:
        return False
    if here in GROUND or there in ROOF:
        return True
    return ROOMS[there] >= ROOMS[here]


def test_the_top_folder_shows_the_rooms_and_no_more():
    entries = {
        entry.name.removesuffix(".py")
        for entry in PACKAGE.iterdir()
        if entry.name != "__pycache__"
    }
    assert entries - {"__main__", "cli"} == {
        *ROOMS,
        "__init__",
        "_paths",
        "_version",
        "data",
        "py.typed",
    }


@pytest.mark.parametrize("module", MODULES)
def test_a_module_imports_from_rooms_before_its_own(module):
    wrong = {
        other
        for other, late in imports_of(module)
        if against_the_order(module, other)
        and not (late and (room_of(module), room_of(other)) in LATE)
    }
    assert not wrong, f"{module} imports {sorted(wrong)}, which lie behind it"


def test_each_late_import_that_is_allowed_is_there_once():
    for who, whom in LATE:
        places = [
            module
            for module in MODULES
            if room_of(module) == who
            for other, late in imports_of(module)
            if late and room_of(other) == whom
        ]
        assert len(places) == 1, f"{who} imports {whom} late in {places}"


def test_no_modules_import_each_other_in_a_circle():
    graph = {
        module: {
            other
            for other, late in imports_of(module)
            if other != module and (room_of(module), room_of(other)) not in LATE
        }
        for module in MODULES
    }
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))


@pytest.mark.parametrize(
    "module", [module for module in MODULES if room_of(module) == "signals"]
)
def test_signals_know_no_network(module):
    names = {
        name
        for node in ast.walk(ast.parse(MODULES[module].read_text("utf-8")))
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in (
            [f"{node.module}.{alias.name}" for alias in node.names]
            if isinstance(node, ast.ImportFrom)
            else [alias.name for alias in node.names]
        )
    }
    networks = ("torch.nn", "torchaudio", "skorch", "braindecode.models")
    assert not [name for name in names if name.startswith(networks)]


@pytest.mark.parametrize(
    "room", [name for name, file in FILES.items() if name.endswith(".__init__")]
)
def test_a_room_hands_on_names_and_defines_nothing(room):
    tree = ast.parse(FILES[room].read_text("utf-8"))
    docstring, *statements, names = tree.body
    assert isinstance(docstring, ast.Expr)
    assert all(isinstance(statement, ast.ImportFrom) for statement in statements)
    assert names.targets[0].id == "__all__"
    handed_on = [alias.name for node in statements for alias in node.names]
    assert sorted(handed_on) == sorted(ast.literal_eval(names.value))


def test_no_module_is_longer_than_one_idea():
    lengths = {
        name: len(file.read_text("utf-8").splitlines()) for name, file in FILES.items()
    }
    assert not {name: n for name, n in lengths.items() if n > MOST_LINES}


@pytest.mark.parametrize("module", [name for name in FILES if name != "_version"])
def test_a_module_begins_with_what_it_is(module):
    text = ast.get_docstring(ast.parse(FILES[module].read_text("utf-8")))
    assert text
    assert text.split("\n\n")[0].endswith((".", ":"))


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("import braindecode_samba", {("__init__", False)}),
        ("import braindecode_samba.nn.trunk as t", {("nn.trunk", False)}),
        (
            "from braindecode_samba import SAMBA, nn",
            {("__init__", False), ("nn", False)},
        ),
        ("from braindecode_samba.nn import trunk", {("nn.trunk", False)}),
        ("from braindecode_samba.nn import Trunk", {("nn", False)}),
        ("from braindecode_samba.nn.trunk import Trunk", {("nn.trunk", False)}),
        ("from . import trunk", {("nn.trunk", False)}),
        ("from .trunk import Trunk", {("nn.trunk", False)}),
        ("from ..models import SAMBA", {("models", False)}),
        ("def f():\n    from ..models import SAMBA", {("models", True)}),
        ("class A:\n    from ..models import SAMBA", {("models", False)}),
        ("if True:\n    import braindecode_samba.models", {("models", False)}),
        ("import braindecode_samba_other, torch", set()),
    ],
)
def test_imports_are_found_in_every_form(source, found):
    modules = {"nn", "nn.trunk", "models"}
    assert set(imported(source, modules, f"{NAME}.nn")) == found


def test_the_order_is_what_is_checked():
    assert against_the_order("signals.inputs", "nn.trunk")
    assert against_the_order("pretraining.net", "evaluation.tables")
    assert against_the_order("nn.trunk", "__init__")
    assert against_the_order("_paths", "signals.inputs")
    assert not against_the_order("models", "nn")
    assert not against_the_order("plots.windows", "pretraining.drawing")
