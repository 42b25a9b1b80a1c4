"""Every page of the gallery runs as a user runs it, without network and screen.

Scripts are found, so that a new one is tested by being there.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

import matplotlib.pyplot as plt
import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"
SCRIPTS = sorted(EXAMPLES.glob("plot_*.py"))

# Python imports this by itself before it runs a script
NO_NETWORK = """
import socket

HERE = ("localhost", "127.0.0.1", "::1", socket.gethostname())


def only_here(function, place):
    def guarded(*args, **kwargs):
        address = args[place] if len(args) > place else None
        host = address[0] if isinstance(address, tuple) else address
        # workers of a local cluster talk to each other
        if isinstance(host, str) and not host.startswith("/") and host not in HERE:
            raise OSError(f"an example asked for the network: {host}")
        return function(*args, **kwargs)

    return guarded


socket.getaddrinfo = only_here(socket.getaddrinfo, 0)
socket.create_connection = only_here(socket.create_connection, 0)
socket.socket.connect = only_here(socket.socket.connect, 1)
"""


@pytest.fixture
def environment(tmp_path):
    """Variables of a process that has neither network nor screen."""
    (tmp_path / "sitecustomize.py").write_text(NO_NETWORK)
    places = [str(tmp_path), str(EXAMPLES.parent), os.environ.get("PYTHONPATH", "")]
    return {
        **os.environ,
        "MPLBACKEND": "Agg",
        "PYTHONPATH": os.pathsep.join(filter(None, places)),
    }


def figure_options(script, folder):
    """Arguments that make a script write its figures, and where they will be."""
    options = re.findall(r'add_argument\(\s*"(--figures?)"', script.read_text())
    if "--figures" in options:
        return ["--figures", str(folder / "figures")], folder / "figures"
    if "--figure" in options:
        return ["--figure", str(folder / "figures.png")], folder / "figures.png"
    return [], None


def run(script, folder, environment, *arguments):
    return subprocess.run(
        [sys.executable, str(script), *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def warnings_in(text):
    """Lines that announce a warning, whoever gives it."""
    return [line for line in text.splitlines() if "Warning" in line]


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
def test_example_runs_offline_and_draws(script, tmp_path, environment):
    arguments, place = figure_options(script, tmp_path)
    done = run(script, tmp_path, environment, *arguments)
    assert done.returncode == 0, done.stderr
    assert not warnings_in(done.stdout + done.stderr), done.stderr
    assert done.stdout.strip(), "a page without a word of output"
    if place is not None:
        figures = list(place.iterdir()) if place.is_dir() else [place]
        assert figures
        for figure in figures:
            assert plt.imread(figure).std() > 0.01, f"{figure.name} is blank"


def test_there_are_examples():
    assert len(SCRIPTS) >= 16


def test_the_check_finds_network_and_warnings(tmp_path, environment):
    script = tmp_path / "asks.py"
    script.write_text(
        "import warnings\nwarnings.warn('this is ours')\n"
        "import urllib.request\nurllib.request.urlopen('http://example.org')\n"
    )
    done = run(script, tmp_path, environment)
    assert done.returncode != 0
    assert "an example asked for the network" in done.stderr
    assert warnings_in(done.stderr)
