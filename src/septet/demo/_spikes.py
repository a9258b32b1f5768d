"""Tab: a neuron learns to answer patterns with prescribed spikes, or there is a proof."""

from typing import TYPE_CHECKING

import numpy as np

from septet import spiking
from septet._core.pictures import new_figure
from septet.demo._told import told

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def learn(
    n_patterns: float, n_inputs: float, n_spikes: float, seed: float
) -> tuple["Figure | None", str]:
    """Learn random associations and show the first pattern.

    Parameters
    ----------
    n_patterns, n_inputs, n_spikes : float
        Numbers of patterns, of input lines, and of desired spikes in a pattern; whole numbers.
    seed : float
        Of the random patterns.

    Returns
    -------
    figure : matplotlib.figure.Figure or None
        Input spikes and membrane potential; None if no weights exist.
    words : str
        What came out, in Markdown.

    Raises
    ------
    ValueError
        If so many spikes do not fit into a pattern.
    """
    inputs, targets = spiking.random_associations(
        int(n_patterns), int(n_inputs), int(n_spikes), random_state=int(seed)
    )
    learner = spiking.SpikeTrainLearner(max_epochs=100)
    try:
        learner.fit(inputs, targets)
    except spiking.UnreachableTargetsError as error:
        violation = error.certificate.check(inputs, targets)
        return None, (
            f"**Out of reach, and here is the proof.** {error}\n\nChecked without the solver: the "
            f"requirements contradict each other with a ratio of {violation:.3g}."
        )
    report = learner.report_
    words = (
        f"**{'Exact' if report.exact else 'Not exact'}** after {report.wall_time:.2f} s: "
        f"{sum(map(len, targets))} desired spikes, {report.n_wrong_count} trains with a wrong "
        f"number of spikes, largest error of a spike time {report.max_timing_error:.1e} ms. "
        "Shown is the first pattern."
    )
    return picture(inputs, targets[0], learner), words


def picture(
    inputs: spiking.SpikeBatch, targets: np.ndarray, learner: spiking.SpikeTrainLearner
) -> "Figure":
    """Draw the input spikes of the first pattern and the potential that they cause."""
    figure = new_figure((8, 6))
    upper, lower = figure.subplots(2, sharex=True)
    spiking.plot_raster(inputs, 0, ax=upper, label="input")
    spiking.plot_potential(spiking.LIF(), inputs, learner.coef_[0], targets=targets, ax=lower)
    upper.set(xlabel="")
    return figure


def tab() -> None:
    """Lay the tab out."""
    import gradio as gr

    gr.Markdown(
        "Random patterns of input spikes; for each, random times at which the neuron shall fire, "
        "and at no other. The weights are solved for. Ask for more spikes than there are inputs, "
        "and there is a proof that no weights exist."
    )
    with gr.Row():
        with gr.Column(scale=1):
            patterns = gr.Slider(1, 20, 10, step=1, label="Patterns")
            lines = gr.Slider(10, 500, 300, step=10, label="Input lines")
            spikes = gr.Slider(0, 10, 5, step=1, label="Desired spikes in a pattern")
            seed = gr.Number(0, label="Seed", precision=0, minimum=0)
            go = gr.Button("Learn", variant="primary")
        with gr.Column(scale=2):
            words = gr.Markdown()
            shown = gr.Plot(label="First pattern: inputs, potential, targets")
    go.click(told(learn), [patterns, lines, spikes, seed], [shown, words])
