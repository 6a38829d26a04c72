"""`parrotlet doctor`: what is seen in a run's curves, or in this machine, and what to do."""

from __future__ import annotations

from rich.console import Console
from rich.markup import escape

from parrotlet.evals.band import band_of_curve
from parrotlet.evals.curve import Curve, read_curves
from parrotlet.evals.doctor import LEAST_STEPS, examine, summary
from parrotlet.terminal.config_runs import DoctorConfig
from parrotlet.terminal.machine import examine as examine_machine


def doctor(config: DoctorConfig) -> int:
    """Print the findings of every stage, or of the machine; 0, whatever they are."""
    console = Console()
    if config.run is None:
        return examine_machine(console)
    for curve in read_curves(config.run):
        _show(curve, console)
    return 0


def _show(curve: Curve, console: Console) -> None:
    band = band_of_curve(curve)
    console.print(f"[bold]{escape(curve.name)}[/bold]: {summary(curve, band)}", highlight=False)
    findings = examine(curve, band)
    for each in findings:
        console.print(f"  [yellow]![/yellow] [bold]{each.name}[/bold]: {escape(each.evidence)}.")
        console.print(f"    {escape(each.advice[0].upper() + each.advice[1:])}.", style="dim")
    if len(curve.records) < LEAST_STEPS:
        console.print(
            f"  {len(curve.records)} steps are too few to judge; the doctor needs {LEAST_STEPS}"
        )
    elif not findings:
        looked = (
            "" if curve.measure == "loss" else " (of this stage: skipped steps and speed alone)"
        )
        told = f"nothing that a rule looks for is there{looked}"
        console.print(f"  [green]all is well[/green]: {told}")
