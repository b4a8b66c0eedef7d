"""Tables and figures of what run.py measured."""

from matplotlib.figure import Figure
from peers.matmul import OPERATIONS

OURS = ("suite", "suite_plain")
BLUE, GRAY = "#0072B2", "#888888"


def floor(workload):
    """Milliseconds that a step's matrix products take at the rate measured beside."""
    per_product = workload["peers"]["matmul"]["median"]
    return workload["operations"] / OPERATIONS * per_product


def ratios(workload):
    """The suite's time over the best peer's, TF 1.15.5's, and the floor."""
    peers = workload["peers"]
    ours = peers["suite"]["median"]
    others = {k: v["median"] for k, v in peers.items() if k not in (*OURS, "matmul")}
    tf1 = others.get("tf1_notebook")
    return {
        "best peer": ours / min(others.values()) if others else None,
        "TF 1.15.5": ours / tf1 if tf1 else None,
        "floor": ours / floor(workload),
    }


def as_markdown(results):
    """The table of all workloads."""
    workloads = list(results["workloads"].values())
    machine = results["machine"]
    lines = [
        f"{machine['processor']}, {machine['cores']} cores, {machine['date']}. "
        "Milliseconds per step: median (quartiles).",
        "",
        "| | " + " | ".join(w["title"] for w in workloads) + " |",
        "| --- |" + " --- |" * len(workloads),
    ]
    names = {}
    for workload in workloads:
        for peer, values in workload["peers"].items():
            if peer != "matmul":
                names[peer] = values["name"]

    def row(title, cell):
        cells = []
        for workload in workloads:
            try:
                cells.append(cell(workload))
            except (KeyError, TypeError):
                cells.append("–")
        lines.append(f"| {title} | " + " | ".join(cells) + " |")

    for peer, name in names.items():

        def times(workload, peer=peer):
            values = workload["peers"][peer]
            low, high = (_digits(values[key]) for key in ("low", "high"))
            return f"{_digits(values['median'])} ({low}–{high})"

        row(f"**{name}**" if peer == "suite" else name, times)
    row("matmul floor", lambda w: _digits(floor(w)))
    for ratio in ("best peer", "TF 1.15.5", "floor"):
        row(f"seqmnist / {ratio}", lambda w, r=ratio: f"{ratios(w)[r]:.2f}")
    lines += [
        "",
        "Seconds until the end of the first step, the framework's import included: "
        "first start, second start (import alone). Peak memory, MB:",
        "",
    ]
    lines += lines[2:4]
    for peer, name in names.items():

        def costs(workload, peer=peer):
            second = workload["peers"][peer]
            starts = [
                f"{start['import_seconds'] + start['first_step_seconds']:.1f}"
                for start in (second["first_start"], second)
            ]
            alone = f"({second['import_seconds']:.1f})"
            return f"{', '.join(starts)} {alone}; {second['peak_megabytes']:.0f}"

        row(name, costs)
    if results["whole"]:
        lines += [
            "",
            "Seconds from the command to the accuracy: one epoch of the BasicRNN, and "
            "the test images:",
            "",
            "| | seconds | test accuracy |",
            "| --- | --- | --- |",
        ]
        for name, values in results["whole"].items():
            seconds, accuracy = values["median"], values["accuracy"]
            lines.append(f"| {name} | {seconds:.1f} | {accuracy:.4f} |")
    return "\n".join(lines) + "\n"


def save_figures(results, folder):
    """Draws steps.png and growth.png as far as there are results."""
    if results["workloads"]:
        _save_steps(list(results["workloads"].values()), folder / "steps.png")
    if results["growth"]:
        _save_growth(results["growth"], folder / "growth.png")


def _save_steps(workloads, path):
    """Bars of milliseconds per step, one panel per workload."""
    figure = Figure(figsize=(3.4 * len(workloads), 3.2))
    panels = figure.subplots(1, len(workloads), squeeze=False)
    for axes, workload in zip(panels[0], workloads):
        peers = [(k, v) for k, v in workload["peers"].items() if k != "matmul"]
        labels = [values["name"] for _, values in peers]
        medians = [values["median"] for _, values in peers]
        colors = [BLUE if key == "suite" else GRAY for key, _ in peers]
        bars = axes.barh(labels, medians, color=colors)
        axes.bar_label(bars, [_digits(m) for m in medians], padding=2, fontsize=8)
        axes.axvline(floor(workload), color="black", linewidth=1, linestyle=":")
        axes.invert_yaxis()
        axes.margins(x=0.18)
        axes.set_title(workload["title"], fontsize=9)
        axes.tick_params(labelsize=8)
        axes.spines[["top", "right"]].set_visible(False)
        if axes is not panels[0][0]:
            axes.set_yticklabels([])
    figure.supxlabel(
        "milliseconds per training step; dotted: matrix products alone", fontsize=9
    )
    figure.tight_layout()
    figure.savefig(path, dpi=110, facecolor="white")


def _save_growth(growth, path):
    """Time and memory against each size, log-log."""
    figure = Figure(figsize=(3.6 * len(growth), 5.4))
    panels = figure.subplots(2, len(growth), squeeze=False)
    sizes = {"time steps": "time_steps", "batch": "batch_size", "units": "units"}
    for column, (axis, workloads) in enumerate(growth.items()):
        x = [workload[sizes[axis]] for workload in workloads]
        for peer, color in (("suite", BLUE), ("pytorch", GRAY)):
            values = [workload["peers"][peer] for workload in workloads]
            for line, key in enumerate(("median", "peak_megabytes")):
                panels[line][column].loglog(
                    x,
                    [v[key] for v in values],
                    marker="o",
                    color=color,
                    label=values[0]["name"],
                )
        panels[0][column].set_title(axis, fontsize=10)
        for line in (0, 1):
            axes = panels[line][column]
            axes.set_xticks(x, [str(n) for n in x], fontsize=8)
            axes.minorticks_off()
            axes.grid(alpha=0.3)
    panels[0][0].set_ylabel("milliseconds per step")
    panels[1][0].set_ylabel("peak memory, MB")
    panels[0][0].legend(fontsize=8)
    figure.tight_layout()
    figure.savefig(path, dpi=110, facecolor="white")


def _digits(value):
    """Three digits."""
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"
