"""The progress of a stage on a screen: a bar at a terminal, a line now and then elsewhere."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Mapping

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from parrotlet.evals.band import Band, judge
from parrotlet.evals.curve import unit_of, window_of
from parrotlet.terminal.duration import duration
from parrotlet.train.drive import Progress as StageProgress

LINE_SECONDS = 10.0  # between lines where there is no terminal
SMOOTHING = 0.95  # of the loss and speed that are shown


class StageDisplay:
    """Shows what a stage says and does. Use it as a context manager around the stage."""

    def __init__(
        self, title: str, console: Console, *, quiet: bool = False, band: Band | None = None
    ) -> None:
        self.title = title
        self.console = console
        self.band = band  # where the recipe's own runs lay, to say how this one stands
        self.quiet = quiet  # another rank prints
        self._bar: Progress | None = None
        self._loss = self._speed = 0.0
        self._line_at = 0.0
        self._losses: deque[float] = deque(maxlen=1)

    def __enter__(self) -> StageDisplay:
        return self

    def __exit__(self, *exception: object) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def say(self, text: str) -> None:
        """One line (or a few) above the bar."""
        if not self.quiet:
            self.console.print(escape(text), style="dim", highlight=False)

    def show(self, progress: StageProgress) -> None:
        """A step was done."""
        if self.quiet:
            return
        first = self._speed == 0.0
        keep = 0.0 if first else SMOOTHING
        self._loss = keep * self._loss + (1 - keep) * progress.loss
        self._speed = keep * self._speed + (1 - keep) * progress.units_per_second
        if self._losses.maxlen != (window := window_of(progress.total)):
            self._losses = deque(self._losses, maxlen=window)
        self._losses.append(progress.loss)
        if progress.samples:
            self._show_samples(progress)
        if progress.evaluation:
            self._show_evaluation(progress)
        if self.console.is_terminal:
            self._show_bar(progress)
        else:
            self._show_line(progress)

    def _text(self, progress: StageProgress) -> str:
        band = None if self.band is None else self.band.along(progress.course)
        verdict = judge(self._losses, progress.step, progress.total, band)
        full = verdict is not None and len(self._losses) == self._losses.maxlen
        standing = f" ({verdict.word})" if verdict is not None and full else ""
        return (
            f"step {progress.step}/{progress.total}  loss {self._loss:.3f}{standing}  "
            f"{self._speed:,.0f} {unit_of(self.title)}/s  {duration(progress.seconds_left)} left"
        )

    def _show_bar(self, progress: StageProgress) -> None:
        if self._bar is None:
            self._bar = Progress(
                TextColumn("{task.description}", style="bold"),
                BarColumn(bar_width=24),
                TextColumn("{task.fields[text]}"),
                console=self.console,
            )
            self._bar.start()
            self._bar.add_task(self.title, total=progress.total, text="")
        task = self._bar.task_ids[0]
        text = self._text(progress)
        self._bar.update(task, completed=progress.step, total=progress.total, text=text)

    def _show_line(self, progress: StageProgress) -> None:
        now = time.monotonic()
        if now - self._line_at >= LINE_SECONDS or progress.step == progress.total:
            self._line_at = now
            self.console.print(f"{self.title}  {self._text(progress)}", highlight=False)

    def _show_evaluation(self, progress: StageProgress) -> None:
        values = _values(progress.evaluation or {})
        self.console.print(f"  step {progress.step}: {values}", highlight=False)

    def _show_samples(self, progress: StageProgress) -> None:
        for prompt, text in (progress.samples or {}).items():
            said = " ".join(text.split())
            self.console.print(
                f"  [bold]{escape(prompt)}[/bold] [cyan]{escape(said)}[/cyan]", highlight=False
            )


class Counting:
    """Progress through a known number of things, by name: a bar at a terminal, else nothing."""

    def __init__(self, title: str, console: Console) -> None:
        self._bar = Progress(
            TextColumn(f"[bold]{title}"),
            BarColumn(bar_width=24),
            TextColumn("{task.completed}/{task.total}  {task.description}"),
            TimeRemainingColumn(),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )

    def __enter__(self) -> Counting:
        self._bar.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._bar.stop()

    def show(self, name: str, done: int, total: int) -> None:
        """`done` of `total` are done, and `name` comes next."""
        if not self._bar.task_ids:
            self._bar.add_task(name, total=total)
        self._bar.update(self._bar.task_ids[0], description=name, completed=done)


def _values(values: Mapping[str, float]) -> str:
    return "  ".join(f"{name.replace('_', ' ')} {value:.4g}" for name, value in values.items())
