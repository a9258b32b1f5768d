"""Memory-lean optimizers against Adam on a small LLaMA: settings, measures and exhibits."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from septet._core import checks
from septet.recipes import Exhibit, Figure, Measure, Run, Table, measured
from septet.recipes.optim_llama._methods import CONFIRMED, LEAN, MAIN, METHODS
from septet.recipes.optim_llama._study import Results, Workers, study, symbols_to
from septet.recipes.optim_llama._training import Setting

_NEVER = 2.0  # budgets that a run which misses the target is counted with


@dataclass(frozen=True, kw_only=True)
class Config:
    """Settings of the study; zero steps leave a part out."""

    corpus: Literal["gcide", "torch-source"] = "gcide"
    """Text to train on."""
    second_corpus: Literal["gcide", "torch-source"] = "torch-source"
    """Text to fine-tune on."""
    model: Literal["tiny", "small", "llama-60m", "llama-130m", "llama-350m", "llama-1b"] = "small"
    """Size of the model; small has 350 thousand parameters."""
    methods: tuple[str, ...] = (*MAIN, *LEAN)
    """Optimizers of the main comparison."""
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    """Initial weights and sample orders, shared by all optimizers."""
    steps: int = 300
    """Optimizer steps of the main comparison."""
    batch: int = 16
    """Windows in a micro-batch."""
    accumulate: int = 1
    """Micro-batches in a step."""
    context: int = 64
    """Symbols (bytes) predicted in a window."""
    rank: int = 24
    """Dimension of the momentum's subspace."""
    update_interval: int = 200
    """Steps between refreshes of the subspace."""
    evaluate_every: int = 20
    """Steps between evaluations in the main comparison."""
    n_validation: int = 128
    """Windows held out for evaluation."""
    tuning_steps: int = 0
    """Steps of each try of a rate; with zero the rates chosen by the full scale are used."""
    confirmation_seeds: tuple[int, ...] = ()
    """Fresh seeds for the lean candidate that did best at full length, and for its controls."""
    adagrad_steps: int = 0
    """Steps of the comparison of Adagrad's family."""
    ablation_steps: int = 0
    """Steps of the ablations."""
    ablation_seeds: tuple[int, ...] = (0, 1, 2)
    """Seeds of the ablations."""
    fine_tuning_steps: int = 0
    """Steps on the second text, from the weights that Adam reached on the first."""
    device: str = "cpu"
    """Device to train on, or auto."""
    bfloat16: bool = False
    """Mixed precision."""
    workers: int = 0
    """Runs at a time, one thread each; zero takes one per core."""

    def __post_init__(self) -> None:
        for method in self.methods:
            checks.choice("methods", method, METHODS)
        if "adam" not in self.methods:
            raise ValueError("methods must hold 'adam', which the others are compared with.")
        for name in ("steps", "batch", "accumulate", "context", "evaluate_every", "n_validation"):
            checks.integer(name, getattr(self, name), low=1)
        if not self.seeds:
            raise ValueError("seeds must not be empty.")


def run(config: Config, run: Run) -> Results:
    """Tune, compare, ablate and fine-tune as far as the settings ask for it."""
    setting = Setting(
        model=config.model,
        corpus=config.corpus,
        batch=config.batch,
        context=config.context,
        accumulate=config.accumulate,
        rank=config.rank,
        update_interval=config.update_interval,
        evaluate_every=config.evaluate_every,
        n_validation=config.n_validation,
        device=config.device,
        bfloat16=config.bfloat16,
    )
    return study(Workers(run, config.workers), setting, config)


def token_ratio_to_adam(results: Results) -> Measure | None:
    """Tokens that AdamSNSM needs for one-rate Adam's final loss, over Adam's tokens."""
    return _ratios_to_adam(results, "adam-snsm")


def lean_token_ratio_to_adam(results: Results) -> Measure | None:
    """Tokens that the lean default needs for one-rate Adam's final loss, over Adam's tokens."""
    return _ratios_to_adam(results, results["lean"])


def gap_to_two_rates(results: Results) -> Measure | None:
    """Final loss of AdamSNSM minus that of two-rate Adam, nats per byte, paired by seed."""
    return _difference(results, "adam-snsm", "adam-two-rates")


def lean_gap_to_two_rates(results: Results) -> Measure | None:
    """Final loss of the lean default minus that of two-rate Adam, nats per byte, paired by seed."""
    return _difference(results, results["lean"], "adam-two-rates")


def confirmed_gap_to_two_rates(results: Results) -> Measure | None:
    """Final loss of Gram, rank 18, minus that of the better two-rate Adam, on fresh seeds."""
    if "confirmation" not in results:
        return None
    runs = results["confirmation"]
    controls = [method for method in runs if method.startswith("adam-two-rates")]
    peer = min(controls, key=lambda method: _mean_loss(runs[method]))
    words = f"{METHODS[peer].label} {_mean_loss(runs[peer]):.4f}"
    return measured(_minus(runs[CONFIRMED], runs[peer]), unit="nats/byte", peer=words)


def confirmed_state_share(results: Results) -> Measure | None:
    """State of Gram, rank 18, with stored bases and scratch, over that of Adam."""
    if "confirmation" not in results:
        return None
    runs = results["confirmation"]
    return measured(_bytes(runs[CONFIRMED], CONFIRMED) / _bytes(runs["adam"], "adam"))


def rmsprop_gap_to_adam(results: Results) -> Measure | None:
    """Final loss of RMSpropSN minus that of one-rate Adam, nats per byte, paired by seed."""
    return _difference(results, "rmsprop-sn", "adam")


def state_share(results: Results) -> Measure | None:
    """State of AdamSNSM, stored bases included, over that of Adam."""
    return _share(results, "adam-snsm")


def lean_state_share(results: Results) -> Measure | None:
    """State of the lean default with stored bases and scratch, over that of Adam."""
    return _share(results, results["lean"])


def rmsprop_state_share(results: Results) -> Measure | None:
    """State of RMSpropSN over that of Adam."""
    return _share(results, "rmsprop-sn")


def svd_gap_to_uniform(results: Results) -> Measure | None:
    """Final loss with singular vectors minus that with uniformly chosen rows, paired by seed."""
    if "ablations" not in results:
        return None
    rows = results["ablations"]["projection"]
    return measured(_minus(rows["svd"], rows["uniform"]), unit="nats/byte", peer="uniform")


def adagrad_sn_gap_to_coordinate(results: Results) -> Measure | None:
    """Final loss of AdagradSN minus that of coordinate Adagrad, paired by seed."""
    return _adagrad_gap(results, "adagrad")


def adagrad_sn_gap_to_norm(results: Results) -> Measure | None:
    """Final loss of AdagradSN minus that of Adagrad-Norm, paired by seed."""
    return _adagrad_gap(results, "adagrad-norm")


def fine_tuning_gap_to_two_rates(results: Results) -> Measure | None:
    """Fine-tuned with AdamSNSM minus with two-rate Adam, final loss, paired by seed."""
    if "fine_tuning" not in results:
        return None
    runs = results["fine_tuning"]["runs"]
    return measured(_minus(runs["adam-snsm"], runs["adam-two-rates"]), unit="nats/byte")


def kept(results: Results) -> dict[str, Any]:
    """Curves for the documentation: million bytes seen, and each seed's validation losses."""
    curves = {}
    for method in ("adam", "adam-two-rates", CONFIRMED, "rmsprop-sn"):
        if runs := results["main"].get(method):
            curves[METHODS[method].label] = {
                "state": _percent(runs, results),
                "seen": [round(point[0] / 1e6, 4) for point in runs[0]["curve"]],
                "losses": [[round(point[1], 4) for point in run["curve"]] for run in runs],
            }
    return curves


def exhibits(results: Results) -> Iterator[Exhibit]:
    """Curves and tables for the report."""
    yield Figure(
        "Validation loss", "Mean over the seeds; the band spans all of them.", _curves(results)
    )
    yield _main_table(results)
    if results["tuning"]:
        yield _tuning_table(results["tuning"], "Rates that were tried")
    if "confirmation" in results:
        rows = [
            [METHODS[m].label, _percent(runs, results), *_loss(runs)]
            for m, runs in results["confirmation"].items()
        ]
        caption = "Seeds of no other part; the candidate was named before they were run."
        columns = ("optimizer", "state of Adam's, %", *_LOSS)
        yield Table("The best lean candidate once more", caption, columns, rows)
    if "adagrad" in results:
        rows = [[METHODS[m].label, *_loss(runs)] for m, runs in results["adagrad"].items()]
        yield Table("Adagrad's family", "Final validation loss.", ["optimizer", *_LOSS], rows)
    if "ablations" in results:
        rows = [
            [what, value, *_loss(runs), _percent(runs, results)]
            for what, values in results["ablations"].items()
            for value, runs in values.items()
        ]
        caption = "One option of AdamSNSM at a time, at the rates tuned for its standard setting."
        yield Table("Ablations", caption, ["option", "value", *_LOSS, "state of Adam's, %"], rows)
    if "fine_tuning" in results:
        part = results["fine_tuning"]
        rows = [
            [METHODS[m].label, *part["rates"][m], *_loss(runs)] for m, runs in part["runs"].items()
        ]
        columns = ["optimizer", "rate", "rate of the rest", *_LOSS]
        yield Table("Fine-tuning on the second text", "From Adam's weights.", columns, rows)
        yield _tuning_table(part["tuning"], "Rates that were tried for fine-tuning")


_LOSS = ("loss, nats/byte", "from", "to")


def _loss(runs: list[Results]) -> list[float | None]:
    value = measured([r["loss"] for r in runs])
    return [_rounded(value.mean), _rounded(value.low), _rounded(value.high)]


def _ratios(results: Results, method: str) -> list[float]:
    """Budget needed for Adam's final loss of the same seed, in budgets of Adam."""
    ratios = []
    for ours, adam in zip(results["main"][method], results["main"]["adam"], strict=True):
        needed = symbols_to(ours["curve"], adam["loss"])
        ratios.append(_NEVER if needed is None else needed / adam["curve"][-1][0])
    return ratios


def _ratios_to_adam(results: Results, method: str | None) -> Measure | None:
    if method is None or method not in results["main"]:
        return None
    return measured(_ratios(results, method), unit="of Adam's tokens", peer="Adam 1")


def _minus(ours: list[Results], theirs: list[Results]) -> list[float]:
    return [a["loss"] - b["loss"] for a, b in zip(ours, theirs, strict=True)]


def _difference(results: Results, method: str | None, peer: str) -> Measure | None:
    main = results["main"]
    if method not in main or peer not in main:
        return None
    words = f"{METHODS[peer].label} {_mean_loss(main[peer]):.4f}"
    return measured(_minus(main[method], main[peer]), unit="nats/byte", peer=words)


def _mean_loss(runs: list[Results]) -> float:
    return float(np.mean([r["loss"] for r in runs]))


def _bytes(runs: list[Results], method: str) -> int:
    """State and, for the lean candidates, the scratch buffer that a step needs beside it."""
    return runs[0]["state_bytes"] + (runs[0]["scratch_bytes"] if method in LEAN else 0)


def _share(results: Results, method: str | None) -> Measure | None:
    if method is None or method not in results["main"]:
        return None
    adam = _bytes(results["main"]["adam"], "adam")
    return measured(_bytes(results["main"][method], method) / adam, peer=f"Adam {adam} bytes")


def _adagrad_gap(results: Results, peer: str) -> Measure | None:
    if "adagrad" not in results:
        return None
    family = results["adagrad"]
    return measured(_minus(family["adagrad-sn"], family[peer]), unit="nats/byte")


def _curves(results: Results) -> Any:
    def draw(figure: Any) -> None:
        axes = figure.add_subplot()
        for method, runs in results["main"].items():
            tokens = np.array([point[0] for point in runs[0]["curve"]]) / 1e6
            losses = np.array([[point[1] for point in r["curve"]] for r in runs])
            (line,) = axes.plot(tokens, losses.mean(0), label=METHODS[method].label)
            axes.fill_between(
                tokens, losses.min(0), losses.max(0), color=line.get_color(), alpha=0.15
            )
        last = [r["loss"] for runs in results["main"].values() for r in runs]
        axes.set_ylim(min(last) - 0.05, max(last) + 0.6)
        axes.set_xlabel("million bytes seen")
        axes.set_ylabel("validation loss, nats per byte")
        axes.legend(fontsize="small")

    return draw


def _main_table(results: Results) -> Table:
    rows = []
    for method, runs in results["main"].items():
        ratio = measured(_ratios(results, method))
        peer = results["main"].get("adam-two-rates")
        gap = measured(_minus(runs, peer)) if peer else None
        step = [r["step_seconds"] for r in runs if r["step_seconds"] is not None]
        rows.append(
            [
                METHODS[method].label,
                *results["rates"][method],
                _percent(runs, results),
                *_loss(runs),
                _rounded(ratio.mean),
                *(
                    [_rounded(gap.mean), _rounded(gap.low), _rounded(gap.high)]
                    if gap
                    else [None] * 3
                ),
                round(1e3 * float(np.median(step)), 2) if step else None,
            ]
        )
    columns = (
        *("optimizer", "rate", "rate of the rest", "state of Adam's, %", *_LOSS),
        *("of Adam's tokens to its loss", "minus two-rate Adam", "from", "to", "its step, ms"),
    )
    caption = (
        f"{len(results['seeds'])} seeds; intervals are Student's 95 %. A run that never reached "
        f"Adam's final loss counts with {_NEVER:g} times Adam's tokens. Differences are paired by "
        "seed."
    )
    return Table("Optimizers", caption, columns, rows)


def _tuning_table(tuning: dict[str, list[Results]], title: str) -> Table:
    rows = []
    for method, tries in tuning.items():
        losses = [entry["loss"] for entry in tries]
        known = [loss for loss in losses if loss is not None]
        tried = [entry["rates"][0] for entry in tries]
        for entry in tries:
            note = ""
            if known and entry["loss"] == min(known):
                at_edge = entry["rates"][0] in (min(tried), max(tried))
                note = "chosen, at the edge" if at_edge else "chosen"
            rows.append([METHODS[method].label, *entry["rates"], _rounded(entry["loss"]), note])
    caption = "One seed that no comparison uses; an empty loss is a run that diverged."
    columns = ("optimizer", "rate", "rate of the rest", "loss, nats/byte", "")
    return Table(title, caption, columns, rows)


def _percent(runs: list[Results], results: Results) -> float:
    return round(100 * runs[0]["state_bytes"] / results["main"]["adam"][0]["state_bytes"], 2)


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)
