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
# entry points: they import what they start
OUTSIDE = {"__init__", "__main__", "bootstrap", "bootstrap_plan"}
BANS = {
    "model": {"text", "data"},
    "optim": {"model"},
    "engine": {"text", "data", "train"},
    "serve": {"stages", "tasks", "evals"},
}
ONLY = {"ui": {"parrotlet.core.rundir"}}  # all that these layers may import of ours
# directories that are made whole, then named; files are written by core.rundir
RENAMES = {"train/checkpoint.py", "exchange/export.py"}
IN_A_SANDBOX = "tasks/sandbox_inside.py"  # a program of its own, with nothing of ours to import
TORCH_FREE = [
    "parrotlet.recipes",
    "parrotlet.cli",
    "parrotlet.stages.config",
    "parrotlet.stages.config_dpo",
    "parrotlet.stages.config_rl",
    "parrotlet.stages.plan",
    "parrotlet.model.config",
    "parrotlet.model.cost",
    "parrotlet.engine.request",
    "parrotlet.engine.scheduler",
    "parrotlet.core.rundir",
    "parrotlet.safety.filter",
    "parrotlet.safety.filters",
    "parrotlet.tasks.sandbox",
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
            names = {resolved(node.module or "", alias.name) for alias in node.names}
            found += [(name, node.lineno, id(node) in inside) for name in sorted(names)]
    return found


def resolved(module: str, name: str) -> str:
    """What `from module import name` imports: a module of ours of that name, else `module`."""
    inner = ROOT.joinpath(*module.split("."), name)
    ours = inner.with_suffix(".py").exists() or (inner / "__init__.py").exists()
    return f"{module}.{name}" if ours else module


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
            allowed = other == layer or name in ONLY.get(layer, {name})
            assert allowed, f"{path}:{line}: {layer} imports {name}"
            assert not inside, f"{path}:{line}: our import inside a function"
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


def writes(tree: ast.AST) -> list[ast.Call]:
    """The calls that write a file, by the names and modes they are written with."""
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    buffers = {  # names of bytes in memory, which may be written to
        ast.unparse(target)
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign) and "BytesIO(" in ast.unparse(node.value)
        for target in node.targets
    }
    return [call for call in calls if _writes(call, buffers)]


def _writes(call: ast.Call, buffers: set[str]) -> bool:
    called = ast.unparse(call.func)
    method = called.rpartition(".")[2]
    if method in ("write_text", "write_bytes", "tofile", "rename", "save_file"):
        return True
    if called in ("np.save", "np.savez", "np.savetxt"):
        return ast.unparse(call.args[0]) not in buffers
    if called == "os.replace":
        return True
    if method != "open":
        return False
    position = 1 if called in ("open", "io.open", "gzip.open") else 0
    given = [each.value for each in call.keywords if each.arg == "mode"]
    given += call.args[position : position + 1]
    if position == 0:  # a method: of paths the first argument is the mode, of others anything
        given = [each for each in given if isinstance(each, ast.Constant)]
    return any(
        not isinstance(each, ast.Constant) or bool(set(str(each.value)) & set("wax+"))
        for each in given
    )


@pytest.mark.parametrize(
    "code",
    [
        'open(p, "w")', 'open(p, mode="wb")', "open(p, mode)", 'path.open("a")', "np.save(path, x)",
        'path.open(mode="r+")', "path.write_text(x)", "path.rename(other)", "os.replace(a, b)",
    ],
)  # fmt: skip
def test_a_write_is_seen(code: str) -> None:
    assert writes(ast.parse(code))


def test_what_only_reads_is_no_write() -> None:
    code = "open(p)\nopen(p, 'rb')\npath.open()\nShards.open(directory)\n"
    assert not writes(ast.parse(code + "buffer = io.BytesIO()\nnp.save(buffer, x)\n"))


def test_files_are_written_by_one_function() -> None:
    """Only core may open files for writing: everything else goes through core.rundir."""
    for path in modules():
        if layer_of(path) in ("core", *OUTSIDE):
            continue
        for call in writes(ast.parse(path.read_text(encoding="utf-8"))):
            name = path.relative_to(PACKAGE).as_posix()
            named = ast.unparse(call.func).endswith(".rename")
            allowed = (named and name in RENAMES) or name == IN_A_SANDBOX
            assert allowed, f"{path}:{call.lineno} writes by itself"


def test_modules_behind_names_are_seen() -> None:
    assert resolved("parrotlet.train", "checkpoint") == "parrotlet.train.checkpoint"
    assert resolved("parrotlet.train.checkpoint", "find") == "parrotlet.train.checkpoint"
    assert resolved("parrotlet", "__version__") == "parrotlet"


def test_sizes() -> None:
    """The bounds ARCHITECTURE.md gives, and files and functions one can read."""
    counts = by_layer()
    weekend = sum(counts[layer] for layer in WEEKEND)
    assert weekend < 8_460, f"the weekend path has {weekend} lines of code"
    assert counts.total() < 23_780
    lines = {path: path.read_text(encoding="utf-8").count("\n") for path in modules()}
    for path, count in lines.items():
        assert count <= 320, f"{path} has {count} lines"
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                size = (node.end_lineno or node.lineno) - node.lineno + 1
                assert size <= 60, f"{path}:{node.lineno} {node.name} has {size} lines"
