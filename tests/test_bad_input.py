"""Bad input: one sentence with what, the value and what to do; the right status; nothing lost."""

from __future__ import annotations

import gzip
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from parrotlet.cli import main

SMOKE = ["--recipe", "smoke", "--device", "cpu"]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished base model."""
    runs = tmp_path_factory.mktemp("runs")
    assert main(["pretrain", *SMOKE, "--runs", str(runs), "--name", "base"]) == 0
    return runs / "base"


def fails(capsys: pytest.CaptureFixture[str], arguments: list[str], status: int = 1) -> str:
    """Run a command that must fail; what it said, which must be one sentence on one line."""
    capsys.readouterr()
    try:
        found = main(arguments)
    except SystemExit as error:  # usage errors of the flag parser
        found = int(error.code or 0)
    said = capsys.readouterr().err
    assert found == status, said
    assert "Traceback" not in said
    if "parrotlet: " in said:
        assert said.count("\n") == 1, said
    return said


def pretrain(data: Path, runs: Path, *more: str) -> list[str]:
    return ["pretrain", *SMOKE, "--data", str(data), "--runs", str(runs), *more]


def test_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runs = tmp_path / "runs"
    (tmp_path / "empty.txt").touch()
    (tmp_path / "binary.txt").write_bytes(b"ab\x00cd")
    (tmp_path / "latin.txt").write_bytes("caf\u00e9 ".encode("latin-1") * 9)
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder/picture.png").write_bytes(b"\x89PNG")
    (tmp_path / "bad.jsonl").write_text('{"text": "fine"}\n{"text": \n')
    (tmp_path / "columns.jsonl").write_text('{"title": "a", "body": "b"}\n')
    (tmp_path / "cut.txt.gz").write_bytes(gzip.compress(b"text " * 9999)[:-9])
    cases = [
        ("missing.txt", ("missing.txt", "does not exist")),
        ("empty.txt", ("empty.txt", "empty")),
        ("binary.txt", ("binary.txt", "offset 2")),
        ("latin.txt", ("latin.txt", "0xe9", "offset 3", "--errors replace")),
        ("folder", ("folder", "nothing")),
        ("bad.jsonl", ("line 2", "bad.jsonl")),
        ("columns.jsonl", ("'title', 'body'", "--column")),
        ("cut.txt.gz", ("cut.txt.gz", "cut short")),
    ]
    for name, words in cases:
        said = fails(capsys, pretrain(tmp_path / name, runs, "--name", "x"))
        for word in words:
            assert word in said, said
        assert not (runs / "x").exists(), "a refused run leaves nothing"
    said = fails(capsys, pretrain(tmp_path / "columns.jsonl", runs, "--column", "text"))
    assert "'title', 'body'" in said
    (tmp_path / "long.txt").write_bytes("caf\u00e9 au lait, ".encode("latin-1") * 900)
    command = pretrain(tmp_path / "long.txt", runs, "--errors", "replace", "--name", "replaced")
    assert main([*command, "--kind", "char"]) == 0


def test_no_file_after_data(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It never means the embedded world."""
    for verb in (["pretrain"], ["tokenizer"], ["sft", "start"]):
        said = fails(capsys, [*verb, "--runs", str(tmp_path), "--data"], status=2)
        assert "at least one file" in " ".join(said.replace("│", " ").split()), said
    assert not list(tmp_path.iterdir())


def test_a_tokenizer_is_what_was_asked_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = tmp_path / "text.txt"
    text.write_text("some words to learn from, again and again, with little change. " * 99)
    command = ["tokenizer", "--data", str(text), "--runs", str(tmp_path), "--name", "tk"]
    assert "is larger than this text" in fails(capsys, [*command, "--vocab-size", "9999"])
    assert main([*command, "--vocab-size", "270"]) == 0
    assert main([*command, "--vocab-size", "270"]) == 0  # it is there
    assert "other values of vocab_size" in fails(capsys, [*command, "--vocab-size", "280"])
    assert "made by `parrotlet tokenizer`" in fails(
        capsys, pretrain(text, tmp_path, "--name", "tk")
    )
    (tmp_path / "tk/recipe.json").unlink()
    assert "says how it was made" in fails(capsys, [*command, "--vocab-size", "270"])
    for flag in ("--device", "--threads", "--dtype", "--validation-fraction", "--show-batch"):
        assert flag in fails(capsys, [*command, flag, "1"], status=2)


def test_too_little_text(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "short.txt").write_text("only a few words are here")
    said = fails(capsys, pretrain(tmp_path / "short.txt", tmp_path, "--kind", "char"))
    assert "fewer than one row of 128" in said
    said = fails(capsys, pretrain(tmp_path / "short.txt", tmp_path, "--name", "y"))
    assert "512" in said  # the vocabulary that was asked for, and the largest possible
    assert "vocab" in said


def test_numbers_that_cannot_work(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = tmp_path / "text.txt"
    text.write_text("some words to learn from, again and again. " * 99)
    cases = [
        (("--width", "30", "--heads", "4"), ("--width 30", "--heads 4")),
        (("--depth", "0"), ("--depth 0",)),
        (("--steps", "3", "--tokens", "99"), ("--steps and --tokens",)),
        (("--steps", "0"), ("--steps 0",)),
        (("--minutes", "-1"), ("--minutes",)),
        (("--tokens", "5"), ("--tokens 5", "1,024")),
        (("--batch-tokens", "100"), ("--batch-tokens 100 ", "--batch-tokens 128 would do")),
        (("--depth", "90000", "--width", "64"), ("--depth 90000 needs", "GB are free", "would do")),
        (("--recipe", "nonsense"), ("nonsense", "shakespeare")),
        (("--heads", "4", "--kv-heads", "3"), ("3 key-value heads",)),
    ]
    for flags, words in cases:
        said = fails(capsys, pretrain(text, tmp_path, *flags), status=2)
        for word in words:
            assert word in said, said
    said = fails(capsys, ["pretrain", "--dept", "4"], status=2)
    assert "--depth" in said  # suggested
    assert "--device" in fails(capsys, pretrain(text, tmp_path, "--device", "gpu"), status=2)


def test_names_and_folders(tmp_path: Path, base: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = tmp_path / "text.txt"
    text.write_text("words " * 999)
    for name in ("../escape", "a/b", "", ".hidden"):
        for command in (pretrain(text, tmp_path), ["tokenizer", "--runs", str(tmp_path)]):
            said = fails(capsys, [*command, "--name", name], status=2)
            assert repr(name) in said
        said = fails(capsys, ["demo", "--runs", str(tmp_path), "--name", name], status=2)
        assert repr(name) in said
    assert list(tmp_path.iterdir()) == [text]
    (tmp_path / "file").touch()
    said = fails(capsys, pretrain(text, tmp_path / "file"))
    assert "file" in said
    said = fails(capsys, [*pretrain(text, base.parent), "--name", "base"])
    assert "other values of data" in said


@pytest.mark.skipif(hasattr(os, "geteuid") and os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tmp_path.chmod(0o500)
    said = fails(capsys, pretrain(Path(__file__), tmp_path / "runs"))
    assert "--runs" in said


def test_checkpoints(tmp_path: Path, base: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "does not exist" in fails(capsys, ["sample", str(tmp_path / "nowhere"), "x"])
    assert "holds no checkpoint" in fails(capsys, ["sample", str(tmp_path), "x"])
    copy = tmp_path / "copy"
    shutil.copytree(base, copy)
    (step,) = sorted(copy.glob("step_*"))[-1:]
    weights = step / "model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-10])
    assert "model.safetensors is damaged" in fails(capsys, ["sample", str(copy), "x"])
    weights.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    said = fails(capsys, ["sft", str(copy), *SMOKE, "--runs", str(tmp_path)])
    assert "sha256" in said
    assert "recipe.json" in fails(capsys, ["resume", str(tmp_path)])


def test_sequences_longer_than_the_context(
    tmp_path: Path, base: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = fails(capsys, ["sample", str(base), "word " * 300], status=2)
    assert "128" in said
    said = fails(
        capsys,
        ["sft", str(base), *SMOKE, "--runs", str(tmp_path), "--context", "999"],
        status=2,
    )
    assert "--context 999" in said
    assert "128" in said


def test_conversations(tmp_path: Path, base: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cases = [
        ('{"a": 1}', ("line 1", "'a'", "messages")),
        ('{"messages": [{"role": "king", "content": "x"}]}', ("line 1", "'king'")),
        ('{"messages": [{"role": "assistant", "content": "x"}]}', ("line 1",)),
        ('{"prompt": "a", "response": ""}', ("line 1", "empty")),
        ("not json", ("line 1", "not JSON")),
        ('{"prompt": "a", "response": "b"}', ("1 conversations are too few",)),
    ]
    for index, (line, words) in enumerate(cases):
        file = tmp_path / f"{index}.jsonl"
        file.write_text(line + "\n")
        command = ["sft", str(base), *SMOKE, "--data", str(file), "--runs", str(tmp_path / "r")]
        said = fails(capsys, [*command, "--name", f"n{index}"])
        for word in words:
            assert word in said, said


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        [],
        ["nonsense"],
        ["pretrain", "--help"],
        ["pretrain", "--steps", "many"],
        ["pretrain", "--recipe", "smoke", "--dry-run"],
        ["demo", "--dry-run"],
        ["pretrain", "--recipe", "nonsense"],
    ],
    ids=" ".join,
)
def test_help_and_usage_errors_never_import_torch(arguments: list[str]) -> None:
    code = (
        "import sys\n"
        "from parrotlet.cli import main\n"
        "try:\n"
        f"    main({arguments!r})\n"
        "except SystemExit:\n"
        "    pass\n"
        "assert 'torch' not in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
