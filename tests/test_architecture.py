"""The layers of DESIGN are a fact: imports point downwards, and the bans hold."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest
from lines import WEEKEND, by_layer

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "parrotlet"
LAYERS = [
    "core",
    "text",
    "files",
    "tools",
    "safety",
    "data",
    "world",
    "tasks",
    "model",
    "optim",
    "train",
    "engine",
    "chat",
    "evals",
    "stages",
    "recipes",
    "exchange",
    "serve",
    "ui",
    "terminal",
    "cli",
]
OUTSIDE = {"__init__", "__main__", "bootstrap"}  # entry points: they import what they start
BANS = {
    "model": {"text", "data"},
    "optim": {"model"},
    "engine": {"text", "data", "train"},
    "serve": {"stages", "tasks", "evals"},
}
TORCH_FREE = [
    "parrotlet.recipes",
    "parrotlet.cli",
    "parrotlet.stages.config",
    "parrotlet.stages.plan",
    "parrotlet.model.config",
    "parrotlet.model.cost",
    "parrotlet.engine.request",
    "parrotlet.engine.scheduler",
    "parrotlet.core.rundir",
    "parrotlet.safety.filter",
    "parrotlet.tools.calculator",
    "parrotlet.evals.doctor",
    "parrotlet.terminal.plot",
    "parrotlet.terminal.demo_stages",
]


def modules() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def layer_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports_of(path: Path) -> list[tuple[str, int, bool]]:
    """(imported module, line, whether inside a function)."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    inside = {
        id(node)
        for function in ast.walk(tree)
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef)
        for node in ast.walk(function)
    }
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [(alias.name, node.lineno, id(node) in inside) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: relative import"
            found.append((node.module or "", node.lineno, id(node) in inside))
    return found


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_downwards(path: Path) -> None:
    layer = layer_of(path)
    if layer in OUTSIDE:
        return
    assert layer in LAYERS, f"{layer} is not in the layout"
    for name, line, inside in imports_of(path):
        parts = name.split(".")
        if parts[0] == "parrotlet" and len(parts) > 1:
            other = parts[1]
            assert other in LAYERS, f"{path}:{line} imports {name}"
            assert LAYERS.index(other) <= LAYERS.index(layer), f"{path}:{line}: {layer} < {other}"
            assert other not in BANS.get(layer, ()), f"{path}:{line}: {layer} never imports {other}"
            # the command line loads a verb's module when it is called; nobody else may hide one
            allowed = layer in ("cli", "terminal")
            assert allowed or not inside, f"{path}:{line}: our import inside a function"
        if layer == "safety":
            assert parts[0] != "torch", f"{path}:{line}: safety never imports torch"
        assert parts[0] not in ("pickle", "shelve", "marshal"), f"{path}:{line}: a pickle"


def test_no_import_cycles() -> None:
    graph: dict[str, set[str]] = {}
    for path in modules():
        parts = path.relative_to(ROOT).with_suffix("").parts
        name = ".".join(parts)
        graph[name] = {
            target
            for target, _, inside in imports_of(path)
            if target.startswith("parrotlet.") and not inside
        }
    done: set[str] = set()

    def visit(name: str, trail: tuple[str, ...]) -> None:
        assert name not in trail, f"cycle: {' -> '.join((*trail, name))}"
        if name in done:
            return
        for target in graph.get(name, ()):
            visit(target, (*trail, name))
        done.add(name)

    for name in graph:
        visit(name, ())


@pytest.mark.parametrize("name", TORCH_FREE)
def test_torch_free(name: str) -> None:
    code = f"import sys, {name}; assert 'torch' not in sys.modules, 'torch came along'"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr


def test_no_calls_that_load_pickles_or_evaluate_text() -> None:
    for path in modules():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call):
                called = ast.unparse(node.func)
                assert called not in ("eval", "exec", "torch.load", "torch.save"), (
                    f"{path}:{node.lineno} calls {called}"
                )


def test_files_are_written_by_one_function() -> None:
    """Only core may open files for writing: everything else goes through core.rundir."""
    for path in modules():
        if layer_of(path) in ("core", *OUTSIDE):
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call):
                called = ast.unparse(node.func)
                assert not called.endswith((".write_text", ".write_bytes")), f"{path}:{node.lineno}"
                if called == "open" and len(node.args) > 1:
                    mode = ast.literal_eval(node.args[1])
                    assert not set(mode) & set("wax+"), f"{path}:{node.lineno} opens to write"


def test_sizes() -> None:
    """The bounds of DESIGN section 2, and files and functions one can read."""
    counts = by_layer()
    weekend = sum(counts[layer] for layer in WEEKEND)
    assert weekend < 5_000, f"the weekend path has {weekend} lines of code"
    assert counts.total() < 14_000
    lines = {path: path.read_text(encoding="utf-8").count("\n") for path in modules()}
    for path, count in lines.items():
        assert count <= 320, f"{path} has {count} lines"
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                size = (node.end_lineno or node.lineno) - node.lineno + 1
                assert size <= 60, f"{path}:{node.lineno} {node.name} has {size} lines"
